package orlop.pod;

/**
 * What one pod did since it started.
 *
 * @param localHits calls served at once by the pod that they came to
 * @param hops calls forwarded to another pod
 * @param retries calls tried in a further pod
 * @param misses calls that had to wait here for a load
 * @param loads loads started
 * @param loadFailures loads that failed
 * @param evictions models evicted
 * @param refused calls refused for overload
 */
public record PodStats(
    long localHits,
    long hops,
    long retries,
    long misses,
    long loads,
    long loadFailures,
    long evictions,
    long refused) {}
