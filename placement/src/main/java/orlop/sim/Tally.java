package orlop.sim;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** The figures of a run and the hash of its history. */
final class Tally {
  long calls;
  long served;
  long hits;
  long hops;
  long loads;
  long failedLoads;
  long evictions;
  long loadNs;
  long faults;
  long planned;
  long puts;
  long deletes;

  private final Map<String, Long> rejects = new HashMap<>();
  private long[] waitsMs = new long[1024];
  private int waits;
  private long hash = 0xcbf29ce484222325L;

  /** Adds an event to the history. */
  void note(long nowNs, String what, String where, String which, long detail) {
    mix(nowNs);
    mix(what.hashCode());
    mix(where.hashCode());
    mix(which.hashCode());
    mix(detail);
  }

  private void mix(long value) {
    long h = (hash ^ value) * 0x9e3779b97f4a7c15L;
    hash = h ^ (h >>> 29);
  }

  void served(long waitMs) {
    served++;
    if (waits == waitsMs.length) {
      waitsMs = Arrays.copyOf(waitsMs, waits * 2);
    }
    waitsMs[waits++] = waitMs;
  }

  void rejected(String cause) {
    rejects.merge(cause, 1L, Long::sum);
  }

  long rejected() {
    return rejects.values().stream().mapToLong(Long::longValue).sum();
  }

  Report report(Options options) {
    Arrays.sort(waitsMs, 0, waits);
    long p99 = waits == 0 ? 0 : waitsMs[(int) (waits * 0.99)];
    return new Report(
        options,
        calls,
        served,
        hits,
        hops,
        loads,
        failedLoads,
        evictions,
        loadNs / Timeline.SECOND,
        faults,
        planned,
        puts,
        deletes,
        p99,
        rejects,
        hash);
  }
}
