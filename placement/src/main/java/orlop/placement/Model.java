package orlop.placement;

import java.util.Set;

/**
 * An immutable loadable thing, as registered.
 *
 * @param id unique in the mesh, never reused for other content
 * @param type the format, which decides the runtime, for example {@code onnx}
 * @param path where it lies: a URI, or a path inside the storage that {@code key} names
 * @param key storage reference and load parameters as JSON, opaque here; may be empty
 * @param sizeHintBytes memory it is expected to take; 0 when unknown
 * @param minCopies copies to keep loaded; 0 lets it stay unloaded
 * @param maxCopies most copies to load; 0 for no bound
 * @param requiredLabels labels that a pod must carry to load it
 * @param preferredLabels labels that a pod should carry to load it
 * @param registeredMs milliseconds since the epoch
 * @param pinned its minimum of copies, one at least, is never evicted
 */
public record Model(
    String id,
    String type,
    String path,
    String key,
    long sizeHintBytes,
    int minCopies,
    int maxCopies,
    Set<String> requiredLabels,
    Set<String> preferredLabels,
    long registeredMs,
    boolean pinned) {

  public Model {
    if (id.isEmpty() || id.length() > 512) {
      throw new IllegalArgumentException(
          "model id '" + id + "' must have 1 to 512 characters, has " + id.length());
    }
    if (sizeHintBytes < 0 || minCopies < 0 || maxCopies < 0) {
      throw new IllegalArgumentException(
          "model '%s': sizeHintBytes %d, minCopies %d and maxCopies %d must not be negative"
              .formatted(id, sizeHintBytes, minCopies, maxCopies));
    }
    if (maxCopies > 0 && minCopies > maxCopies) {
      throw new IllegalArgumentException(
          "model '%s': minCopies %d exceeds maxCopies %d".formatted(id, minCopies, maxCopies));
    }
    requiredLabels = Set.copyOf(requiredLabels);
    preferredLabels = Set.copyOf(preferredLabels);
  }

  /** A model that is not pinned. */
  public Model(
      String id,
      String type,
      String path,
      String key,
      long sizeHintBytes,
      int minCopies,
      int maxCopies,
      Set<String> requiredLabels,
      Set<String> preferredLabels,
      long registeredMs) {
    this(
        id,
        type,
        path,
        key,
        sizeHintBytes,
        minCopies,
        maxCopies,
        requiredLabels,
        preferredLabels,
        registeredMs,
        false);
  }

  /** Copies that stand whatever the demand: the minimum, and one at least where it is pinned. */
  public int floor() {
    return pinned ? Math.max(1, minCopies) : minCopies;
  }

  /** A model with no hints and no constraints. */
  public static Model of(String id, String type, String path, String key, long registeredMs) {
    return new Model(id, type, path, key, 0, 0, 0, Set.of(), Set.of(), registeredMs);
  }

  /**
   * Whether two registrations ask for the same thing: all attributes that a caller gives, not the
   * moment.
   */
  public boolean sameAs(Model other) {
    return id.equals(other.id)
        && type.equals(other.type)
        && path.equals(other.path)
        && key.equals(other.key);
  }
}
