package orlop.sim;

import java.util.EnumSet;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;

/** What goes wrong in the safety phase. */
public enum Fault {
  /** A pod dies and another starts in its place; its keys stay until the lease ends. */
  CRASH,
  /** All pods of a zone die at once. */
  ZONE,
  /** A pod loses its lease and goes on serving until it notices. */
  LEASE,
  /** A pod neither sees nor writes the registry for up to 40 s. */
  STALL,
  /** A pod loads ten times slower for a minute. */
  SLOW,
  /** A load fails, or comes out larger than the pod. */
  FAIL,
  /** A load never ends by itself. */
  HANG,
  /** An unload fails. */
  UNLOAD,
  /** A pod drains, slowly, and is replaced. */
  DRAIN,
  /** No planner for a while. */
  PLANNER,
  /** A load runs out of memory: one that needs more than is free, and one in a hundred besides. */
  OOM,
  /** A pod reads its models at 40 MB/s for a minute. */
  DISK,
  /** The registry takes no writes of pods, and each pod's view stays behind, for up to 40 s. */
  ETCD,
  /** A pod dies and its successor is there before its lease has ended. */
  RESTART,
  /** A third of the pods cannot reach the others for a while; all reach the registry. */
  PARTITION;

  private String word() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * @param words {@code all}, {@code none}, or names joined by commas
   */
  public static Set<Fault> parse(String words) {
    Set<Fault> faults = EnumSet.noneOf(Fault.class);
    if (words.equals("none")) {
      return faults;
    }
    if (words.equals("all")) {
      return EnumSet.allOf(Fault.class);
    }
    for (String word : words.split(",", -1)) {
      faults.add(of(word));
    }
    return faults;
  }

  private static Fault of(String word) {
    for (Fault fault : values()) {
      if (fault.word().equals(word)) {
        return fault;
      }
    }
    throw new IllegalArgumentException(
        "fault '%s' is unknown, must be all, none, or some of %s"
            .formatted(word, words(EnumSet.allOf(Fault.class))));
  }

  /** The inverse of {@link #parse}. */
  public static String words(Set<Fault> faults) {
    if (faults.isEmpty()) {
      return "none";
    }
    return faults.stream().sorted().map(Fault::word).collect(Collectors.joining(","));
  }
}
