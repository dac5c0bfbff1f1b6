package orlop.placement;

import java.util.LinkedHashMap;
import java.util.Map;

/** What a pod remembers of a model, also after it has left: its last uses and what a load costs. */
final class History {
  /** The load that is measured now counts this much against all before. */
  private static final double NEWEST_WEIGHT = 0.5;

  private final long[] usesNs = new long[EvictionPolicy.USES_KEPT];
  private int uses;
  private double costNs;

  /** A load took this long. */
  void loaded(double tookNs) {
    costNs = costNs == 0 ? tookNs : costNs + NEWEST_WEIGHT * (tookNs - costNs);
  }

  double costNs() {
    return costNs;
  }

  int uses() {
    return uses;
  }

  /**
   * @param i 0 for the last use before it left
   */
  long useNs(int i) {
    return usesNs[i];
  }

  /** It leaves now; these were its last uses, earlier stays included. */
  void left(EvictionPolicy.Resident resident) {
    int known = resident.usesKnown();
    long[] all = new long[known];
    for (int k = 1; k <= known; k++) {
      all[k - 1] = resident.useNs(k);
    }
    System.arraycopy(all, 0, usesNs, 0, known);
    uses = known;
  }

  /** The histories of the models that a pod has held, the least recently loaded forgotten first. */
  static final class Archive {
    private final Map<String, History> histories;

    /**
     * @param bound most models remembered
     */
    Archive(int bound) {
      histories =
          new LinkedHashMap<>(16, 0.75f, true) {
            private static final long serialVersionUID = 1L;

            @Override
            protected boolean removeEldestEntry(Map.Entry<String, History> eldest) {
              return size() > bound;
            }
          };
    }

    History of(String modelId) {
      return histories.computeIfAbsent(modelId, _ -> new History());
    }

    void forget(String modelId) {
      histories.remove(modelId);
    }
  }
}
