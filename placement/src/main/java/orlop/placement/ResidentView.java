package orlop.placement;

/**
 * One loaded model as the policies see it: what the cache knows and what its request threads know
 * together. A cursor that is set to one entry after the other, so that asking costs no memory.
 * Owned by the cache.
 */
final class ResidentView implements EvictionPolicy.Resident {
  private static final double LEAST_SHARE = 1e-9;

  private final Usage usage;
  private final Memory capacity;
  private final long[] recent = new long[EvictionPolicy.USES_KEPT];
  private final long[] usesNs = new long[EvictionPolicy.USES_KEPT];
  private int known;
  private long lastNs;
  private CacheEntry entry;

  ResidentView(Usage usage, Memory capacity) {
    this.usage = usage;
    this.capacity = capacity;
    this.entry = new CacheEntry("", Memory.NONE);
  }

  ResidentView of(CacheEntry one) {
    entry = one;
    int fresh = Math.min(usage.recentUses(one.modelId, recent), recent.length);
    System.arraycopy(recent, 0, usesNs, 0, fresh);
    long wantedNs = Math.max(one.wantedNs, one.readyNs);
    lastNs = Math.max(fresh > 0 ? recent[0] : 0, wantedNs);
    known = fresh;
    if (known == 0) {
      usesNs[known++] = lastNs;
    }
    for (int i = 0; i < one.history.uses() && known < usesNs.length; i++) {
      usesNs[known++] = one.history.useNs(i);
    }
    return this;
  }

  @Override
  public String modelId() {
    return entry.modelId;
  }

  @Override
  public Memory size() {
    return entry.size;
  }

  @Override
  public double share() {
    return Math.max(
        LEAST_SHARE,
        Math.max(
            part(entry.size.ramBytes(), capacity.ramBytes()),
            part(entry.size.vramBytes(), capacity.vramBytes())));
  }

  private static double part(long bytes, long of) {
    return bytes == 0 ? 0 : (double) bytes / Math.max(1, of);
  }

  @Override
  public long lastUsedNs() {
    return lastNs;
  }

  @Override
  public double costNs() {
    return Math.max(1, entry.history.costNs());
  }

  @Override
  public long uses() {
    return Math.max(1, usage.uses(entry.modelId));
  }

  @Override
  public int usesKnown() {
    return known;
  }

  @Override
  public long useNs(int k) {
    return usesNs[k - 1];
  }
}
