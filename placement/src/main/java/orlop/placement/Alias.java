package orlop.placement;

import java.util.Set;

/**
 * A stable name (wire: <i>vmodel</i>) for the model it serves now and the one it is moving to.
 *
 * @param name unique among aliases; may equal a model id, and then wins in {@link MeshView#resolve}
 * @param owner who may change it; empty when nobody claimed it
 * @param activeModelId the model that calls reach
 * @param targetModelId the model it moves to once that is loaded; equal to {@code activeModelId} at
 *     rest
 * @param autoDeleteModelIds models to unregister when this alias has left them
 * @param failure why the move does not proceed; empty while it does
 */
public record Alias(
    String name,
    String owner,
    String activeModelId,
    String targetModelId,
    Set<String> autoDeleteModelIds,
    String failure) {

  public Alias {
    if (name.isEmpty() || name.length() > 512) {
      throw new IllegalArgumentException(
          "alias '" + name + "' must have 1 to 512 characters, has " + name.length());
    }
    autoDeleteModelIds = Set.copyOf(autoDeleteModelIds);
  }

  public boolean moving() {
    return !activeModelId.equals(targetModelId);
  }

  /** Whether calls through this alias reach, or will reach, the model. */
  public boolean refersTo(String modelId) {
    return activeModelId.equals(modelId) || targetModelId.equals(modelId);
  }
}
