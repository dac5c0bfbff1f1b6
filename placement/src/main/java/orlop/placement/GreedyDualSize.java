package orlop.placement;

/**
 * Cost by size on top of an inflation clock that rises to the value of what leaves: P. Cao, S.
 * Irani, "Cost-Aware WWW Proxy Caching Algorithms", USENIX Symposium on Internet Technologies and
 * Systems 1997. Recency counts through the clock, frequency not at all.
 */
final class GreedyDualSize implements EvictionPolicy {
  private final InflationClock clock = new InflationClock();

  @Override
  public double value(Resident resident, long nowNs) {
    return clock.at(resident.lastUsedNs()) + resident.costNs() / resident.share();
  }

  @Override
  public boolean ordered() {
    return true;
  }

  @Override
  public void evicted(Resident resident, long nowNs) {
    clock.riseTo(value(resident, nowNs), nowNs);
  }
}
