package orlop.placement;

/**
 * The load time that keeping a model saves, for each second and each part of the memory: the rate
 * of its last uses times the cost of a load, by size. The rate is {@code (k - 1/2) / (now - t_k)}
 * over the k known uses, so it fades while nothing happens. Of the family of hit density (N.
 * Beckmann, H. Chen, A. Cidon, "LHD", NSDI 2018) and hyperbolic caching (A. Blankstein, S. Sen, M.
 * Freedman, USENIX ATC 2017), with a cost.
 */
final class CostDensity implements EvictionPolicy {
  private static final long LEAST_NS = 1_000_000;

  private final int depth;

  /**
   * @param depth k at most
   */
  CostDensity(int depth) {
    this.depth = depth;
  }

  @Override
  public double value(Resident resident, long nowNs) {
    int k = Math.min(depth, resident.usesKnown());
    long spanNs = Math.max(LEAST_NS, nowNs - resident.useNs(k));
    return (k - 0.5) / spanNs * resident.costNs() / resident.share();
  }
}
