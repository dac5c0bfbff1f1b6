package orlop.placement;

/**
 * The few pods that a model may go to, best first: those of the lowest class, and in a class those
 * with the highest rendezvous weight. Mutable, bounded. O(1) for a pod that does not enter, else
 * O(size).
 */
final class Shortlist {
  private final long modelHash;
  private final Pod[] pods;
  private final int[] classes;
  private final long[] weights;
  private int size;

  Shortlist(String modelId, int most) {
    modelHash = Rendezvous.hash(modelId);
    pods = new Pod[most];
    classes = new int[most];
    weights = new long[most];
  }

  void offer(Pod pod, int podClass) {
    long weight = Rendezvous.weight(modelHash, pod.id());
    int place = size;
    while (place > 0 && before(podClass, weight, pod, place - 1)) {
      place--;
    }
    if (place == pods.length) {
      return;
    }
    size = Math.min(size + 1, pods.length);
    for (int i = size - 1; i > place; i--) {
      pods[i] = pods[i - 1];
      classes[i] = classes[i - 1];
      weights[i] = weights[i - 1];
    }
    pods[place] = pod;
    classes[place] = podClass;
    weights[place] = weight;
  }

  private boolean before(int podClass, long weight, Pod pod, int other) {
    if (podClass != classes[other]) {
      return podClass < classes[other];
    }
    return weight == weights[other]
        ? pod.id().compareTo(pods[other].id()) < 0
        : weight > weights[other];
  }

  int size() {
    return size;
  }

  Pod pod(int place) {
    return pods[place];
  }
}
