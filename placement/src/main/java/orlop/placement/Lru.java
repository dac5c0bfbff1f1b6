package orlop.placement;

/** Least recently used leaves first. What ModelMesh does; blind to size, cost and frequency. */
final class Lru implements EvictionPolicy {
  @Override
  public double value(Resident resident, long nowNs) {
    return resident.lastUsedNs();
  }

  @Override
  public boolean ordered() {
    return true;
  }
}
