package orlop.sim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.Delta;
import orlop.placement.Model;

/**
 * What the mesh is asked: the calls of a {@link Traffic}, or a mixture: calls by Zipf's law over
 * the names, flash crowds on cold names, a scan of everything now and then, names that move to new
 * versions, models that come and go. In the end, when all shall be calm, the calls go on as often
 * for each name as they came before.
 */
final class Workload {
  private static final double ZIPF = 0.9;
  private static final double CALLS_PER_POD_AND_SECOND = 0.8;
  private static final int CROWD = 150;
  private static final int SCAN = 60;

  /** Over this time a {@link Traffic} shows all it does; a shorter run sees it that much faster. */
  private static final double SHOWN_IN_MINUTES = 20;

  private final Simulation sim;
  private final SplittableRandom random;
  private final Pattern pattern;
  private final List<String> names = new ArrayList<>();
  private final @Nullable Traffic traffic;
  private final double speed;
  private final int models;
  private final long meanGapNs;
  private double[] cumulative;
  private int[] calls;
  private boolean steady;
  private boolean silent;
  private int created;

  Workload(Simulation sim, Options options, SplittableRandom random) {
    this.sim = sim;
    this.random = random;
    pattern = options.workload();
    models = options.models();
    double perSecond = CALLS_PER_POD_AND_SECOND * options.pods();
    meanGapNs = (long) (Timeline.SECOND / perSecond);
    calls = new int[models];
    cumulative = zipf(models);
    speed = Math.max(1, SHOWN_IN_MINUTES / options.minutes());
    Traffic.Shape shape = pattern.shape();
    long dayNs = (long) (options.minutes() * speed * Timeline.MINUTE);
    traffic =
        shape == null
            ? null
            : new Traffic(
                new Traffic.Plan(shape, models, perSecond / speed, ZIPF, dayNs, options.seed()));
  }

  private static double[] zipf(int models) {
    double[] cumulative = new double[models];
    double sum = 0;
    for (int i = 0; i < models; i++) {
      sum += 1 / Math.pow(i + 1, ZIPF);
      cumulative[i] = sum;
    }
    return cumulative;
  }

  /** Registers the models; every fifth is called by an alias, for a roll-out all are. */
  void register() {
    for (int i = 0; i < models; i++) {
      String id = create(false);
      if (i % 5 == 0 || pattern == Pattern.ROLLOUT) {
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
    if (traffic != null) {
      follow(traffic, sim.timeline().nowNs());
      return;
    }
    call();
    at(40 * Timeline.SECOND, this::flashCrowd);
    at(60 * Timeline.SECOND, this::scan);
    at(20 * Timeline.SECOND, this::moveAlias);
    at(15 * Timeline.SECOND, this::replaceModel);
  }

  /** From now on the calls go on, the surprises stop. */
  void calmDown() {
    steady = true;
    if (traffic != null) {
      settleOnWhatWasCalled();
      call();
    }
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
    return names.get(Math.min(i >= 0 ? i : -i - 1, cumulative.length - 1));
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

  // A stream.

  private void follow(Traffic stream, long beganNs) {
    stream.next();
    long atNs = beganNs + (long) (stream.timeNs() / speed);
    sim.timeline()
        .after(
            atNs - sim.timeline().nowNs(),
            () -> {
              if (!steady) {
                if (stream.retired() >= 0) {
                  retire(stream.retired());
                }
                called(stream.model());
                follow(stream, beganNs);
              }
            });
  }

  private void called(int model) {
    calls[model]++;
    sim.call(names.get(model));
  }

  /** Another model takes its place: under its name in a roll-out, else under a new one. */
  private void retire(int number) {
    String name = names.get(number);
    calls = Arrays.copyOf(calls, names.size() + 1);
    if (name.startsWith("alias-")) {
      names.add(name);
      moveAlias(name);
    } else {
      sim.registry().write(new Delta.ModelRemoved(name));
      names.add(create(false));
    }
    calls[number] = 0;
  }

  private void settleOnWhatWasCalled() {
    List<Integer> order =
        IntStream.range(0, names.size())
            .boxed()
            .sorted(Comparator.comparingInt((Integer i) -> -calls[i]))
            .limit(models)
            .toList();
    List<String> all = List.copyOf(names);
    names.clear();
    order.forEach(i -> names.add(all.get(i)));
    double sum = 0;
    cumulative = new double[names.size()];
    for (int i = 0; i < cumulative.length; i++) {
      sum += Math.max(calls[order.get(i)], 0.001);
      cumulative[i] = sum;
    }
  }

  // The mixture.

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
    moveAlias("alias-" + random.nextInt(models) / 5 * 5);
  }

  private void moveAlias(String name) {
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
