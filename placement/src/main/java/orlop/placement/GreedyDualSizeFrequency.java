package orlop.placement;

/**
 * {@link GreedyDualSize} with the cost times the number of uses since the load: L. Cherkasova,
 * "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy", HP Labs 1998;
 * for cold starts: A. Fuerst, P. Sharma, "FaasCache", ASPLOS 2021.
 */
final class GreedyDualSizeFrequency implements EvictionPolicy {
  private final InflationClock clock = new InflationClock();

  @Override
  public double value(Resident resident, long nowNs) {
    return clock.at(resident.lastUsedNs()) + resident.uses() * resident.costNs() / resident.share();
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
