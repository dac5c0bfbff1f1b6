package orlop.placement;

/**
 * Memory that one model is expected to take: the most that it takes where it is loaded in a pod of
 * the same kind, else its hint, counted as VRAM where there is an accelerator; {@link Memory#NONE}
 * when nobody knows.
 *
 * @param plain in a pod without accelerator
 * @param accelerated in a pod with one
 */
record ExpectedSize(Memory plain, Memory accelerated) {

  /** O(copies of the model). */
  static ExpectedSize of(MeshView view, Model model) {
    Memory plain = Memory.NONE;
    Memory accelerated = Memory.NONE;
    boolean plainKnown = false;
    boolean acceleratedKnown = false;
    for (Copy copy : view.copies(model.id())) {
      Pod pod = view.pod(copy.podId());
      if (pod == null || !(copy.state() instanceof CopyState.Loaded(Memory size, long _))) {
        continue;
      }
      if (pod.accelerated()) {
        accelerated = accelerated.max(size);
        acceleratedKnown = true;
      } else {
        plain = plain.max(size);
        plainKnown = true;
      }
    }
    return new ExpectedSize(
        plainKnown ? plain : Memory.ram(model.sizeHintBytes()),
        acceleratedKnown ? accelerated : new Memory(0, model.sizeHintBytes()));
  }

  Memory in(Pod pod) {
    return pod.accelerated() ? accelerated : plain;
  }

  /** As expected; a model of unknown size is assumed to take a 64th of the pod. */
  Memory assumedIn(Pod pod) {
    Memory size = in(pod);
    return size.equals(Memory.NONE)
        ? new Memory(pod.capacity().ramBytes() / 64, pod.capacity().vramBytes() / 64)
        : size;
  }
}
