package orlop.sim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import orlop.placement.Alias;
import orlop.placement.Delta;
import orlop.placement.Model;

/**
 * What the mesh is asked: calls by Zipf's law over the names, flash crowds on cold names, a scan of
 * everything now and then, names that move to new versions, models that come and go.
 */
final class Workload {
  private static final double ZIPF = 0.9;
  private static final double CALLS_PER_POD_AND_SECOND = 0.8;
  private static final int CROWD = 150;
  private static final int SCAN = 60;

  private final Simulation sim;
  private final SplittableRandom random;
  private final List<String> names = new ArrayList<>();
  private final double[] cumulative;
  private final long meanGapNs;
  private boolean steady;
  private boolean silent;
  private int created;

  Workload(Simulation sim, Options options, SplittableRandom random) {
    this.sim = sim;
    this.random = random;
    meanGapNs = (long) (Timeline.SECOND / (CALLS_PER_POD_AND_SECOND * options.pods()));
    cumulative = new double[options.models()];
    double sum = 0;
    for (int i = 0; i < cumulative.length; i++) {
      sum += 1 / Math.pow(i + 1, ZIPF);
      cumulative[i] = sum;
    }
  }

  /** Registers the models; every fifth is called by an alias. */
  void register() {
    for (int i = 0; i < cumulative.length; i++) {
      String id = create(false);
      if (i % 5 == 0) {
        String alias = "alias-" + i;
        sim.registry().write(new Delta.AliasPut(new Alias(alias, "", id, id, Set.of(), "")));
        names.add(alias);
      } else {
        names.add(id);
      }
    }
  }

  private String create(boolean sound) {
    String id = "model-" + created++;
    Model model = sim.catalogue().create(id, sound, sim.timeline().nowMs(), random);
    sim.registry().write(new Delta.ModelPut(model));
    return id;
  }

  void begin() {
    call();
    at(40 * Timeline.SECOND, this::flashCrowd);
    at(60 * Timeline.SECOND, this::scan);
    at(20 * Timeline.SECOND, this::moveAlias);
    at(15 * Timeline.SECOND, this::replaceModel);
  }

  /** From now on the calls go on, the surprises stop. */
  void calmDown() {
    steady = true;
  }

  /** From now on nobody calls. */
  void silence() {
    silent = true;
  }

  /** The names that are called most. */
  List<String> popular(int count) {
    return List.copyOf(names.subList(0, Math.min(count, names.size())));
  }

  private void call() {
    if (!silent) {
      sim.call(popularName());
      sim.timeline().after(gap(meanGapNs), this::call);
    }
  }

  private String popularName() {
    double draw = random.nextDouble() * cumulative[cumulative.length - 1];
    int i = Arrays.binarySearch(cumulative, draw);
    return names.get(i >= 0 ? i : -i - 1);
  }

  private String anyName() {
    return names.get(random.nextInt(names.size()));
  }

  private long gap(long meanNs) {
    return (long) (-Math.log(1 - random.nextDouble()) * meanNs);
  }

  private void at(long meanNs, Runnable action) {
    sim.timeline()
        .after(
            gap(meanNs),
            () -> {
              if (!steady) {
                action.run();
                at(meanNs, action);
              }
            });
  }

  private void flashCrowd() {
    String name = anyName();
    for (int i = 0; i < CROWD; i++) {
      sim.timeline().after(random.nextLong(2 * Timeline.SECOND), () -> sim.call(name));
    }
  }

  private void scan() {
    int start = random.nextInt(names.size());
    for (int i = 0; i < Math.min(SCAN, names.size()); i++) {
      String name = names.get((start + i) % names.size());
      sim.timeline().after(i * 50L * Timeline.MS, () -> sim.call(name));
    }
  }

  private void moveAlias() {
    String name = "alias-" + random.nextInt(cumulative.length) / 5 * 5;
    Alias alias = sim.registry().flush(sim.timeline().nowNs()).alias(name);
    if (alias != null && !alias.moving()) {
      String target = create(random.nextInt(5) > 0);
      sim.registry()
          .write(
              new Delta.AliasPut(new Alias(name, "", alias.activeModelId(), target, Set.of(), "")));
    }
  }

  private void replaceModel() {
    int i = random.nextInt(names.size());
    if (i % 5 != 0) {
      sim.registry().write(new Delta.ModelRemoved(names.get(i)));
      names.set(i, create(false));
    }
  }
}
