package orlop.sim;

import java.util.List;

/**
 * What the planner is worth, in virtual time with the production classes. Each trial is a function
 * of its parameters and seed.
 */
public final class PlannerTrials {
  static final long GB = 1L << 30;

  /** Of each mesh, where a trial does not take their number. */
  static final int PODS = 8;

  /** Until a mesh is as it will be, from the first call. */
  static final long WARM_NS = 10 * Timeline.MINUTE;

  private PlannerTrials() {}

  static double seconds(long ns) {
    return ns / (double) Timeline.SECOND;
  }

  /**
   * All pods restarted one after the other.
   *
   * @param fillPercent memory that one copy of each model takes of all pods but one
   * @param calls made from the first drain on
   * @param failed of these, for whatever cause, the deadline of 10 s among them
   * @param minutes from the first drain until the last new pod
   * @param lateMs slowest call
   */
  public record Drain(
      int fillPercent, int models, long calls, long failed, double minutes, double lateMs) {}

  /** Loads take 25 s; the pods' successors start 10 s after them. */
  public static Drain drain(int fillPercent, long seed) {
    return new RestartTrial(fillPercent, seed).run();
  }

  /**
   * One pod of eight is killed.
   *
   * @param leaseSeconds from the kill until the registry knew
   * @param lost models called at least once a minute whose only copy it held
   * @param rehomeSeconds from the kill until all of these stood again
   * @param boundSeconds the lease's full time and the time of a load
   * @param newPodSeconds from the start of its successor until that held half of a fair share
   */
  public record Kill(
      double leaseSeconds,
      int lost,
      double rehomeSeconds,
      double boundSeconds,
      double newPodSeconds) {}

  /** Loads take 25 s, twelve models fill a pod. */
  public static Kill kill(long seed) {
    return new KillTrial(seed).run();
  }

  /**
   * Models called every few seconds, and others called once or for a moment.
   *
   * @param slowestSeconds from the first call that was served to the second copy, over the steadily
   *     called ones
   * @param fromColdSeconds the same from the very first call, which waited for the first load
   * @param without steadily called models that had no second copy after five minutes
   * @param oneOff second copies of the others
   */
  public record Second(double slowestSeconds, double fromColdSeconds, int without, int oneOff) {}

  /** Loads take 25 s, memory is free. */
  public static Second second(long seed) {
    return new SecondCopyTrial(seed).run();
  }

  /**
   * A day of diurnal traffic.
   *
   * @param added copies beyond a model's first
   * @param removed of several copies, trimmed or evicted
   * @param again a copy was added, removed and added again within an hour
   * @param flaps of these, those in whose hour the demand never differed by more than the
   *     hysteresis
   * @param mostCopies of one model
   * @param hitPercent calls that did not wait for a load
   */
  public record Day(
      long calls,
      int added,
      int removed,
      int again,
      int flaps,
      int mostCopies,
      long failed,
      double hitPercent) {}

  /** A copy bears 15 calls a minute, so that a million calls make copies come and go. */
  public static Day day(int hours, long seed) {
    return new DayTrial(hours, seed).run();
  }

  /**
   * A mesh beside one pod for each model, on the same calls.
   *
   * @param meanMs and {@code p99Ms}: from a call to its answer, after the warm-up
   * @param pods on average, where they come and go
   */
  public record Cost(String how, double pods, double meanMs, double p99Ms, double coldPercent) {}

  /**
   * One pod for each model, always on; one for each model that goes after a minute without a call
   * and starts in 5 s and the model's load; and meshes of the given sizes. The first hour is not
   * counted.
   */
  public static List<Cost> pods(
      int models, double callsPerSecond, int minutes, long podBytes, int[] meshes, long seed) {
    return new PodsTrial(models, callsPerSecond, minutes, seed).run(podBytes, meshes);
  }
}
