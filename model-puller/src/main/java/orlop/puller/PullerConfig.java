package orlop.puller;

import java.nio.file.Path;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * All settings of a puller, read once.
 *
 * @param cacheDirectory belongs to one puller of one process at a time; created when missing
 * @param cacheCapacityBytes what all entries together may take, half-written ones included
 * @param parallelParts ranged requests of one pull that run at the same time, 1 to 64
 * @param partBytes size of one ranged request, 64 KiB to 1 GiB
 * @param maxConcurrentPulls downloads at the same time, 1 to 256; more wait
 * @param attempts tries for each request, and for each pull whose content changes meanwhile, 1 to
 *     20
 * @param backoffMs wait before the second try, doubled for each further one up to 100 times, with
 *     jitter
 * @param timeoutMs longest time that a caller waits for one pull
 * @param stallTimeoutMs longest silence of a store, also while connecting
 * @param revalidateMs how long what a store listed is taken for what it holds, 0 to 3,600,000: a
 *     model that is loaded again within that time costs the store nothing, and a change of its
 *     files is noticed that much later
 * @param storages by name, see {@link StorageConfig}
 * @param pvcRoot directory under which claims are mounted by name, or null: {@code pvc://} is
 *     refused
 * @param fileRoot directory under which {@code file:} locations must lie, or null: anywhere
 */
public record PullerConfig(
    Path cacheDirectory,
    long cacheCapacityBytes,
    int parallelParts,
    long partBytes,
    int maxConcurrentPulls,
    int attempts,
    long backoffMs,
    long timeoutMs,
    long stallTimeoutMs,
    long revalidateMs,
    Map<String, StorageConfig> storages,
    @Nullable Path pvcRoot,
    @Nullable Path fileRoot) {

  public PullerConfig {
    within("cacheCapacityBytes", cacheCapacityBytes, 1, Long.MAX_VALUE);
    within("parallelParts", parallelParts, 1, 64);
    within("partBytes", partBytes, 64 << 10, 1 << 30);
    within("maxConcurrentPulls", maxConcurrentPulls, 1, 256);
    within("attempts", attempts, 1, 20);
    within("backoffMs", backoffMs, 1, 60_000);
    within("timeoutMs", timeoutMs, 1, 7L * 24 * 3_600_000);
    within("stallTimeoutMs", stallTimeoutMs, 1, 3_600_000);
    within("revalidateMs", revalidateMs, 0, 3_600_000);
    storages = Map.copyOf(storages);
  }

  /**
   * 8 parts of 8 MiB, 4 pulls, 5 attempts from 200 ms, 10 minutes, 20 s of silence, 30 s without a
   * listing.
   */
  public static PullerConfig defaults(Path cacheDirectory, long cacheCapacityBytes) {
    return new PullerConfig(
        cacheDirectory,
        cacheCapacityBytes,
        8,
        8 << 20,
        4,
        5,
        200,
        600_000,
        20_000,
        30_000,
        Map.of(),
        null,
        null);
  }

  /** The same with other storages. */
  public PullerConfig withStorages(Map<String, StorageConfig> storages) {
    return new PullerConfig(
        cacheDirectory,
        cacheCapacityBytes,
        parallelParts,
        partBytes,
        maxConcurrentPulls,
        attempts,
        backoffMs,
        timeoutMs,
        stallTimeoutMs,
        revalidateMs,
        storages,
        pvcRoot,
        fileRoot);
  }

  /** The same with another time for which a listing is believed. */
  public PullerConfig withRevalidateMs(long revalidateMs) {
    return new PullerConfig(
        cacheDirectory,
        cacheCapacityBytes,
        parallelParts,
        partBytes,
        maxConcurrentPulls,
        attempts,
        backoffMs,
        timeoutMs,
        stallTimeoutMs,
        revalidateMs,
        storages,
        pvcRoot,
        fileRoot);
  }

  /** The same with other roots for {@code pvc://} and {@code file:} locations. */
  public PullerConfig withRoots(@Nullable Path pvcRoot, @Nullable Path fileRoot) {
    return new PullerConfig(
        cacheDirectory,
        cacheCapacityBytes,
        parallelParts,
        partBytes,
        maxConcurrentPulls,
        attempts,
        backoffMs,
        timeoutMs,
        stallTimeoutMs,
        revalidateMs,
        storages,
        pvcRoot,
        fileRoot);
  }

  private static void within(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "puller." + key + " is " + value + "; expected " + least + " to " + most);
    }
  }
}
