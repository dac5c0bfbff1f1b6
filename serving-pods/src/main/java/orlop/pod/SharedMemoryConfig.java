package orlop.pod;

/**
 * Who may have tensors in shared memory. A file of it that a caller names is read and written by
 * the pod, whoever the caller is.
 *
 * @param enabled whether anybody may; default false
 * @param keyPrefix what the name of each file must begin with, at most 100 characters without a
 *     slash; default empty, which takes every name
 */
public record SharedMemoryConfig(boolean enabled, String keyPrefix) {
  /** The default. */
  public static final SharedMemoryConfig OFF = new SharedMemoryConfig(false, "");

  private static final int MAX_PREFIX_CHARS = 100;

  public SharedMemoryConfig {
    if (keyPrefix.length() > MAX_PREFIX_CHARS || keyPrefix.indexOf('/') >= 0) {
      throw new IllegalArgumentException(
          "pod sharedMemory.keyPrefix is '%s', allowed are at most %d characters without '/'"
              .formatted(keyPrefix, MAX_PREFIX_CHARS));
    }
  }
}
