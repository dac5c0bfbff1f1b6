package orlop.sim;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Callers of a {@link PlannerMesh}: models of equal size that take a given time to load, called at
 * random for ever, Zipf(0.8) rates.
 */
final class Callers {
  private final PlannerMesh mesh;
  private final List<String> ids = new ArrayList<>();
  private final double[] perSecond;
  private final SplittableRandom random;

  /** Registers the models. */
  Callers(PlannerMesh mesh, int models, long sizeBytes, long loadNs, double callsPerSecond) {
    this.mesh = mesh;
    this.random = new SplittableRandom(mesh.setup().seed() + 17);
    this.perSecond = new double[models];
    double sum = 0;
    for (int i = 0; i < models; i++) {
      perSecond[i] = Math.pow(i + 1, -0.8);
      sum += perSecond[i];
      String id = "m" + i;
      ids.add(id);
      mesh.register(id, sizeBytes, loadNs);
    }
    for (int i = 0; i < models; i++) {
      perSecond[i] *= callsPerSecond / sum;
    }
    mesh.view();
  }

  /** Models called at least so often on average. */
  List<String> calledAtLeast(double perMinute) {
    List<String> often = new ArrayList<>();
    for (int i = 0; i < ids.size(); i++) {
      if (perSecond[i] * 60 >= perMinute) {
        often.add(ids.get(i));
      }
    }
    return often;
  }

  void begin() {
    for (int i = 0; i < ids.size(); i++) {
      next(i);
    }
  }

  private void next(int i) {
    long gapNs = (long) (-Math.log(1 - random.nextDouble()) / perSecond[i] * Timeline.SECOND);
    mesh.timeline()
        .after(
            gapNs,
            () -> {
              mesh.call(ids.get(i));
              next(i);
            });
  }
}
