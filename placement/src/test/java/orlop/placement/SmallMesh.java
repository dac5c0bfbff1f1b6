package orlop.placement;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** A view built by hand; times are milliseconds since the epoch around {@link #NOW_MS}. */
final class SmallMesh {
  static final long NOW_MS = 1_700_000_000_000L;

  private final List<Delta> deltas = new ArrayList<>();

  static Model model(String id, long sizeBytes) {
    return new Model(id, "onnx", "s3://b/" + id, "", sizeBytes, 0, 0, Set.of(), Set.of(), 0);
  }

  /** An empty pod of 1000 bytes in zone {@code z}. */
  static Pod pod(String id) {
    return pod(id, "z", 0, 0);
  }

  static Pod pod(String id, String zone, long usedBytes, int loadsQueued) {
    return new Pod(
        id,
        id + ":8033",
        zone,
        Set.of(),
        Memory.ram(1000),
        Memory.ram(usedBytes),
        loadsQueued,
        0,
        false,
        0,
        "1");
  }

  static Pod withOldestUse(Pod pod, long ageMs) {
    return new Pod(
        pod.id(),
        pod.address(),
        pod.zone(),
        pod.labels(),
        pod.capacity(),
        pod.used(),
        pod.loadsQueued(),
        NOW_MS - ageMs,
        pod.draining(),
        pod.startedMs(),
        pod.version());
  }

  static Pod labelled(Pod pod, String... labels) {
    return new Pod(
        pod.id(),
        pod.address(),
        pod.zone(),
        Set.of(labels),
        pod.capacity(),
        pod.used(),
        pod.loadsQueued(),
        pod.oldestUseMs(),
        pod.draining(),
        pod.startedMs(),
        pod.version());
  }

  static Pod draining(Pod pod) {
    return new Pod(
        pod.id(),
        pod.address(),
        pod.zone(),
        pod.labels(),
        pod.capacity(),
        pod.used(),
        pod.loadsQueued(),
        pod.oldestUseMs(),
        true,
        pod.startedMs(),
        pod.version());
  }

  static CopyState loaded() {
    return new CopyState.Loaded(Memory.ram(100), 1_000);
  }

  static CopyState loading() {
    return new CopyState.Loading();
  }

  static CopyState unloading() {
    return new CopyState.Unloading();
  }

  static CopyState failed(String reason, long retryInMs) {
    return new CopyState.FailedToLoad(Fault.TRANSIENT, reason, NOW_MS + retryInMs);
  }

  static CopyState failedForGood(String reason) {
    return new CopyState.FailedToLoad(Fault.PERMANENT, reason, Long.MAX_VALUE);
  }

  static Attempt attempt(String modelId, String selfPodId) {
    return new Attempt(modelId, selfPodId, false, Set.of(), false, 0, NOW_MS);
  }

  static Attempt salted(String modelId, String selfPodId, long salt) {
    return new Attempt(modelId, selfPodId, false, Set.of(), false, salt, NOW_MS);
  }

  static Attempt tried(String modelId, String selfPodId, String... tried) {
    return new Attempt(modelId, selfPodId, false, Set.of(tried), false, 0, NOW_MS);
  }

  static Attempt forwarded(String modelId, String selfPodId, String... tried) {
    return new Attempt(modelId, selfPodId, true, Set.of(tried), false, 0, NOW_MS);
  }

  SmallMesh models(Model... models) {
    for (Model model : models) {
      deltas.add(new Delta.ModelPut(model));
    }
    return this;
  }

  SmallMesh pods(Pod... pods) {
    for (Pod pod : pods) {
      deltas.add(new Delta.PodPut(pod));
    }
    return this;
  }

  SmallMesh copy(String modelId, String podId, CopyState state) {
    return copy(modelId, podId, state, NOW_MS - 3_600_000);
  }

  SmallMesh copy(String modelId, String podId, CopyState state, long sinceMs) {
    deltas.add(new Delta.CopyPut(new Copy(modelId, podId, state, sinceMs)));
    return this;
  }

  SmallMesh alias(String name, String active, String target, String failure) {
    deltas.add(new Delta.AliasPut(new Alias(name, "", active, target, Set.of(), failure)));
    return this;
  }

  MeshView view() {
    return MeshView.empty().with(deltas, deltas.size());
  }
}
