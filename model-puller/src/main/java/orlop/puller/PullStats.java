package orlop.puller;

/**
 * Figures for metrics. All but the sizes count from the start of the puller.
 *
 * @param hits pulls from a store whose content was already on disk
 * @param misses downloads that were begun
 * @param joined pulls that waited for one already on its way
 * @param inPlace pulls of {@code file:} and {@code pvc:} locations
 * @param stale hits served while the store could not be asked whether they are current
 * @param retries requests and pulls that were tried again
 * @param failures pulls that ended in a {@link PullException}
 * @param bytesPulled bytes of content received, also by downloads that failed
 * @param purged entries taken off the disk to make room, or on demand
 * @param cacheBytes size of all complete entries now
 * @param pinnedBytes of these, what is in use now
 * @param cacheEntries complete entries now
 */
public record PullStats(
    long hits,
    long misses,
    long joined,
    long inPlace,
    long stale,
    long retries,
    long failures,
    long bytesPulled,
    long purged,
    long cacheBytes,
    long pinnedBytes,
    long cacheEntries) {}
