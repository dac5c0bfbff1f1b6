package orlop.placement;

import java.util.Locale;

/** The eviction policies that can be chosen by name. */
public enum Eviction {
  /** Least recently used. */
  LRU,
  /** GreedyDual-Size: recency, cost and size. */
  GDS,
  /** GreedyDual-Size-Frequency: that and the number of uses. */
  GDSF,
  /** Rate of the last uses, cost and size. */
  DENSITY,
  /** Whichever of the others would have cost least lately, as their ghosts tell. */
  ADAPTIVE;

  /** A new instance, for one cache. */
  public EvictionPolicy policy() {
    return switch (this) {
      case LRU -> new Lru();
      case GDS -> new GreedyDualSize();
      case GDSF -> new GreedyDualSizeFrequency();
      case DENSITY -> new CostDensity(EvictionPolicy.USES_KEPT);
      case ADAPTIVE -> new Adaptive();
    };
  }

  /** The one of that name, in lower case. */
  public static Eviction named(String name) {
    for (Eviction one : values()) {
      if (one.toString().equals(name)) {
        return one;
      }
    }
    throw new IllegalArgumentException(
        "evictionPolicy is '" + name + "', allowed are lru, gds, gdsf, density, adaptive");
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
