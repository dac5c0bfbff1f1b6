package orlop.sim;

import java.util.Map;
import java.util.TreeMap;

/**
 * What happened in one simulation.
 *
 * @param calls that were made
 * @param served that were answered
 * @param hits served without waiting for a load
 * @param hops calls passed from one pod to another
 * @param loads started
 * @param failedLoads that did not succeed
 * @param evictions models that left for others
 * @param loadSeconds time spent loading, over all pods
 * @param faults that happened
 * @param planned changes that the planner asked for
 * @param puts of copies in the registry
 * @param deletes of copies in the registry
 * @param waitP99Ms time to answer that one call in a hundred exceeded
 * @param rejects calls that were not served, by cause
 * @param hash of the whole history
 */
public record Report(
    Options options,
    long calls,
    long served,
    long hits,
    long hops,
    long loads,
    long failedLoads,
    long evictions,
    long loadSeconds,
    long faults,
    long planned,
    long puts,
    long deletes,
    long waitP99Ms,
    Map<String, Long> rejects,
    long hash) {

  public Report {
    rejects = Map.copyOf(rejects);
  }

  /** Part of the calls that found their model loaded. */
  public double hitRatio() {
    return calls == 0 ? 0 : (double) hits / calls;
  }

  /** A table for people. */
  @Override
  public String toString() {
    StringBuilder table = new StringBuilder(options.command()).append('\n');
    row(table, "calls", calls);
    row(table, "served", served);
    row(table, "hits", hits);
    row(table, "hit ratio", "%.3f".formatted(hitRatio()));
    row(table, "hops", hops);
    row(table, "loads", loads);
    row(table, "failed loads", failedLoads);
    row(table, "evictions", evictions);
    row(table, "load seconds", loadSeconds);
    row(table, "faults", faults);
    row(table, "planned changes", planned);
    row(table, "copies put", puts);
    row(table, "copies deleted", deletes);
    row(table, "p99 ms", waitP99Ms);
    new TreeMap<>(rejects).forEach((cause, count) -> row(table, "rejected " + cause, count));
    row(table, "hash", "%016x".formatted(hash));
    return table.toString();
  }

  private static void row(StringBuilder table, String name, Object value) {
    table.append("  %-28s %12s%n".formatted(name, value));
  }
}
