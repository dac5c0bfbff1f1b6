package orlop.placement;

/**
 * What bounds one pod's {@link ModelCache}. No time is longer than ten years, so that all can be
 * counted in nanoseconds.
 *
 * @param capacity memory that models may take
 * @param unknownSize assumed for a model whose size nobody knows
 * @param maxResidents most models loading, loaded or unloading
 * @param maxConcurrentLoads most loads at a time
 * @param maxQueued most models waiting to be loaded
 * @param maxFailed most failures remembered; the oldest is forgotten first
 * @param queueTimeoutMs longest wait for memory and a turn
 * @param graceMs how long a model stays, unless it is used before, after a call was told that it is
 *     ready
 * @param liveWindowMs a want whose use is at most this old is a call, an older one a plan
 * @param retryFirstMs pause after the first failed load; doubles with each
 * @param retryMaxMs longest pause after a failed load
 * @param unloadRetryFirstMs pause after the first failed unload; doubles with each
 * @param unloadRetryMaxMs longest pause after a failed unload
 * @param evictionPolicy which model leaves first
 * @param onlineWindowMs a batch displaces nothing that a person's call used in that time
 * @param batchPercent most of the memory that models wanted only by batches hold
 * @param leaseMs how long a prefetched model stays, unless it is used before
 * @param leasePercent most of the memory under such leases at a time; what is prefetched beyond
 *     gets none
 */
public record CacheConfig(
    Memory capacity,
    Memory unknownSize,
    int maxResidents,
    int maxConcurrentLoads,
    int maxQueued,
    int maxFailed,
    long queueTimeoutMs,
    long graceMs,
    long liveWindowMs,
    long retryFirstMs,
    long retryMaxMs,
    long unloadRetryFirstMs,
    long unloadRetryMaxMs,
    Eviction evictionPolicy,
    long onlineWindowMs,
    int batchPercent,
    long leaseMs,
    int leasePercent) {

  private static final long LONGEST_MS = 10L * 365 * 24 * 3_600_000;

  public CacheConfig {
    atLeast("maxResidents", maxResidents, 1);
    atLeast("maxConcurrentLoads", maxConcurrentLoads, 1);
    atLeast("maxQueued", maxQueued, 1);
    atLeast("maxFailed", maxFailed, 1);
    time("queueTimeoutMs", queueTimeoutMs, 1);
    time("graceMs", graceMs, 0);
    time("liveWindowMs", liveWindowMs, 0);
    time("retryFirstMs", retryFirstMs, 1);
    time("retryMaxMs", retryMaxMs, retryFirstMs);
    time("unloadRetryFirstMs", unloadRetryFirstMs, 1);
    time("unloadRetryMaxMs", unloadRetryMaxMs, unloadRetryFirstMs);
    time("onlineWindowMs", onlineWindowMs, 0);
    percent("batchPercent", batchPercent);
    time("leaseMs", leaseMs, 0);
    percent("leasePercent", leasePercent);
  }

  /**
   * With the default policy; batches hold half of the memory at most and leave alone what was used
   * in the last ten minutes; leases last five minutes and hold a quarter at most.
   */
  public CacheConfig(
      Memory capacity,
      Memory unknownSize,
      int maxResidents,
      int maxConcurrentLoads,
      int maxQueued,
      int maxFailed,
      long queueTimeoutMs,
      long graceMs,
      long liveWindowMs,
      long retryFirstMs,
      long retryMaxMs,
      long unloadRetryFirstMs,
      long unloadRetryMaxMs) {
    this(
        capacity,
        unknownSize,
        maxResidents,
        maxConcurrentLoads,
        maxQueued,
        maxFailed,
        queueTimeoutMs,
        graceMs,
        liveWindowMs,
        retryFirstMs,
        retryMaxMs,
        unloadRetryFirstMs,
        unloadRetryMaxMs,
        Eviction.ADAPTIVE,
        600_000,
        50,
        300_000,
        25);
  }

  /** The same with another policy. */
  public CacheConfig with(Eviction policy) {
    return new CacheConfig(
        capacity,
        unknownSize,
        maxResidents,
        maxConcurrentLoads,
        maxQueued,
        maxFailed,
        queueTimeoutMs,
        graceMs,
        liveWindowMs,
        retryFirstMs,
        retryMaxMs,
        unloadRetryFirstMs,
        unloadRetryMaxMs,
        policy,
        onlineWindowMs,
        batchPercent,
        leaseMs,
        leasePercent);
  }

  /** For a pod of this capacity: 4 loads at a time, retries from 10 s to 15 min. */
  public static CacheConfig defaults(Memory capacity) {
    Memory unknownSize = new Memory(capacity.ramBytes() / 64, capacity.vramBytes() / 64);
    return new CacheConfig(
        capacity,
        unknownSize,
        100_000,
        4,
        1_000,
        1_000,
        60_000,
        1_000,
        2_000,
        10_000,
        900_000,
        1_000,
        60_000);
  }

  private static void atLeast(String key, long value, long least) {
    if (value < least) {
      throw new IllegalArgumentException(
          "model cache: " + key + " is " + value + ", must be at least " + least);
    }
  }

  private static void percent(String key, int value) {
    if (value < 0 || value > 100) {
      throw new IllegalArgumentException(
          "model cache: " + key + " is " + value + ", must be 0 to 100");
    }
  }

  private static void time(String key, long valueMs, long leastMs) {
    atLeast(key, valueMs, leastMs);
    if (valueMs > LONGEST_MS) {
      throw new IllegalArgumentException(
          "model cache: " + key + " is " + valueMs + ", must be at most " + LONGEST_MS);
    }
  }
}
