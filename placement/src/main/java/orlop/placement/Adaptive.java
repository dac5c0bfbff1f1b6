package orlop.placement;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Lets the policy choose that would have cost least lately. Each arm is played in a {@link Ghost}
 * over a sample of the models by hash, as large a part of the memory as of the models (C.
 * Waldspurger et al., "Efficient MRC Construction with SHARDS", FAST 2015, and "Cache Modeling and
 * Optimization using Miniature Simulations", ATC 2017). The ghosts' inflation clocks rank the real
 * models too. Costs some microseconds for each use that it is told of and some hundred kilobytes.
 */
final class Adaptive implements EvictionPolicy {
  /** Uses over which a rate is taken: many where demand is steady, few where it moves. */
  private static final int LONG = USES_KEPT;

  private static final int SHORT = 3;

  /** Most models followed. */
  private static final int FOLLOWED = 4_096;

  /** Uses after which what was missed counts half. */
  private static final double HALF_LIFE = 20_000;

  /** How much better another arm must be. */
  private static final double BETTER = 0.98;

  /** Uses before the first choice. */
  private static final int WARM_UP = 500;

  private static final double GROWTH = Math.pow(2, 1 / HALF_LIFE);

  private final List<Ghost> ghosts;
  private final double[] missed;
  private final Map<String, Ghost.Shade> shades = new LinkedHashMap<>(16, 0.75f, true);
  private double weight = 1;
  private long uses;
  private int halvings;
  private int chosen;

  Adaptive() {
    this(List.of(new CostDensity(LONG), new CostDensity(SHORT), new GreedyDualSize(), new Lru()));
  }

  Adaptive(List<EvictionPolicy> arms) {
    ghosts = new ArrayList<>();
    for (EvictionPolicy arm : arms) {
      ghosts.add(new Ghost(arm, ghosts.size()));
    }
    missed = new double[arms.size()];
  }

  @Override
  public double value(Resident resident, long nowNs) {
    return ghosts.get(chosen).policy.value(resident, nowNs);
  }

  @Override
  public boolean learns() {
    return true;
  }

  @Override
  public void seen(Resident resident, long atNs) {
    if (!followed(resident.modelId())) {
      return;
    }
    Ghost.Shade shade = shades.get(resident.modelId());
    if (shade == null) {
      shade = new Ghost.Shade(resident.modelId(), ghosts.size());
      shades.put(resident.modelId(), shade);
      if (shades.size() > FOLLOWED) {
        followFewer(atNs);
        if (!followed(resident.modelId())) {
          return;
        }
      }
    }
    double before = shade.share();
    shade.used(resident, atNs);
    shade.seenAt = uses++;
    weight *= GROWTH;
    double room = Math.pow(0.5, halvings);
    for (int i = 0; i < missed.length; i++) {
      ghosts.get(i).resized(shade, before);
      missed[i] += weight * ghosts.get(i).use(shade, room, atNs);
    }
    choose();
  }

  /** Which arm ranks now: its place in the list. */
  int chosen() {
    return chosen;
  }

  private void choose() {
    if (uses < WARM_UP) {
      return;
    }
    int best = chosen;
    for (int i = 0; i < missed.length; i++) {
      if (missed[i] < missed[best]) {
        best = i;
      }
    }
    if (missed[best] < BETTER * missed[chosen]) {
      chosen = best;
    }
    if (weight > 1e100) {
      for (int i = 0; i < missed.length; i++) {
        missed[i] /= weight;
      }
      weight = 1;
    }
  }

  private boolean followed(String modelId) {
    return halvings == 0 || Rendezvous.weight(modelId, "ghost") >>> (64 - halvings) == 0;
  }

  /** Forgets the one that was not used for long, else halves the sample. */
  private void followFewer(long nowNs) {
    Map.Entry<String, Ghost.Shade> eldest = shades.entrySet().iterator().next();
    if (uses - eldest.getValue().seenAt > 8L * FOLLOWED) {
      drop(eldest.getValue());
      shades.remove(eldest.getKey());
      return;
    }
    halvings++;
    for (Iterator<Ghost.Shade> all = shades.values().iterator(); all.hasNext(); ) {
      Ghost.Shade shade = all.next();
      if (!followed(shade.modelId())) {
        drop(shade);
        all.remove();
      }
    }
    ghosts.forEach(ghost -> ghost.shrink(Math.pow(0.5, halvings), nowNs));
  }

  private void drop(Ghost.Shade shade) {
    ghosts.forEach(ghost -> ghost.drop(shade));
  }
}
