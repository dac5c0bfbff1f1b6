package orlop.registry;

import com.google.protobuf.ByteString;
import org.jspecify.annotations.Nullable;
import orlop.placement.Copy;
import orlop.placement.Delta;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/** What one pod says of itself: as bytes, and whether a view has it so. Thread-safe. */
final class SessionWords {
  private final Values values;
  private final String podId;

  SessionWords(Values values, String podId) {
    this.values = values;
    this.podId = podId;
  }

  /** The value to put; null for a key that shall vanish. */
  @Nullable ByteString encode(Delta delta) {
    return switch (delta) {
      case Delta.PodPut(Pod pod) -> values.encode(pod);
      case Delta.CopyPut(Copy copy) -> values.encode(copy);
      case Delta.CopyRemoved removed -> null;
      case Delta.PodRemoved removed -> null;
      case Delta.ModelPut put -> throw new IllegalStateException(put.toString());
      case Delta.ModelRemoved removed -> throw new IllegalStateException(removed.toString());
      case Delta.AliasPut put -> throw new IllegalStateException(put.toString());
      case Delta.AliasRemoved removed -> throw new IllegalStateException(removed.toString());
      case Delta.SettingPut put -> throw new IllegalStateException(put.toString());
      case Delta.SettingRemoved removed -> throw new IllegalStateException(removed.toString());
    };
  }

  /**
   * Whether the view says the same; a value that came through etcd may have lost what is too long.
   */
  boolean stands(MeshView now, Delta delta) {
    return switch (delta) {
      case Delta.PodPut(Pod pod) -> {
        Pod seen = now.pod(podId);
        yield seen != null && (seen.equals(pod) || values.encode(seen).equals(values.encode(pod)));
      }
      case Delta.CopyPut(Copy copy) -> {
        Copy seen = now.copy(podId, copy.modelId());
        yield seen != null
            && (seen.equals(copy) || values.encode(seen).equals(values.encode(copy)));
      }
      case Delta.CopyRemoved(String pod, String modelId) -> now.copy(pod, modelId) == null;
      case Delta.PodRemoved removed -> true;
      case Delta.ModelPut put -> true;
      case Delta.ModelRemoved removed -> true;
      case Delta.AliasPut put -> true;
      case Delta.AliasRemoved removed -> true;
      case Delta.SettingPut put -> true;
      case Delta.SettingRemoved removed -> true;
    };
  }
}
