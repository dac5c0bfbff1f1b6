package orlop.placement;

import java.util.Locale;

/**
 * Adds up what the models in use need of pods. Memory: each model's share of an average pod of the
 * kind that suits it better, for the copies that it should have. Compute: the pods' own word of how
 * busy they are, against {@link #BUSY}. One step's; not thread-safe.
 */
final class PodNeed {
  /** Share of its compute threads that a pod can keep busy before calls queue noticeably. */
  private static final double BUSY = 0.7;

  /** Memory that stays free, so that what is called for the first time finds room. */
  private static final double SPARE = 0.1;

  private final MeshView view;
  private final double plainBytes;
  private final double acceleratedBytes;
  private double shares;
  private double floorShares;
  private int models;
  private int most;
  private String mostId = "";

  PodNeed(MeshView view) {
    this.view = view;
    double[] sum = new double[2];
    int[] count = new int[2];
    for (Pod pod : view.pods()) {
      int kind = pod.accelerated() ? 1 : 0;
      sum[kind] += pod.accelerated() ? pod.capacity().vramBytes() : pod.capacity().ramBytes();
      count[kind]++;
    }
    plainBytes = count[0] == 0 ? 0 : sum[0] / count[0];
    acceleratedBytes = count[1] == 0 ? 0 : sum[1] / count[1];
  }

  /** Counts a model that should have so many copies. O(copies). */
  void add(Model model, int copies) {
    double share = share(model);
    shares += share * copies;
    floorShares += share * model.floor();
    models++;
    int apart = Math.max(model.floor(), Math.min(copies, 2));
    if (apart > most) {
      most = apart;
      mostId = model.id();
    }
  }

  /** Part of an average pod that one copy takes. */
  private double share(Model model) {
    ExpectedSize size = ExpectedSize.of(view, model);
    double plain = share(size.plain().ramBytes(), plainBytes);
    double accelerated = share(size.accelerated().vramBytes(), acceleratedBytes);
    return Math.min(plain, accelerated);
  }

  private static double share(long bytes, double podBytes) {
    if (podBytes == 0) {
      return 1;
    }
    return Math.min(1, bytes == 0 ? 1 / 64.0 : bytes / podBytes);
  }

  /** Whether all minima at once leave a good part of the mesh to the others. */
  boolean minimaFit() {
    return floorShares <= view.pods().size() * MINIMA_SHARE;
  }

  /** Share of the mesh's memory that minimum copies may claim from other models. */
  private static final double MINIMA_SHARE = 0.75;

  PodsWanted wanted(Demand demand) {
    int forMemory = (int) Math.ceil(shares / (1 - SPARE));
    double busy = 0;
    for (Pod pod : view.pods()) {
      busy += demand.busy().getOrDefault(pod.id(), 0.0);
    }
    int forCompute = (int) Math.ceil(busy / BUSY - 1e-9);
    int pods = Math.max(1, Math.max(most, Math.max(forMemory, forCompute)));
    String why;
    if (pods == forCompute && forCompute > forMemory) {
      why =
          String.format(
              Locale.ROOT,
              "compute: %.1f pods' threads are busy, %.0f %% may be",
              busy,
              BUSY * 100);
    } else if (pods == forMemory) {
      why =
          String.format(
              Locale.ROOT,
              "memory: the %d models in use fill %.1f pods, %.0f %% stays free",
              models,
              shares,
              SPARE * 100);
    } else if (pods == most) {
      why = "copies: model '" + mostId + "' should have " + most + ", each in a pod of its own";
    } else {
      why = "nothing is in use";
    }
    return new PodsWanted(pods, why);
  }
}
