package orlop.sim;

import orlop.placement.Planner;

/**
 * What a {@link PlannerMesh} is made of.
 *
 * @param pods at the start
 * @param podBytes memory of each pod
 * @param threads compute threads of each pod
 * @param loaders loads at a time in each pod
 * @param leaseMs how long a dead pod stays in the registry at most
 * @param planMs between two plans
 * @param handOverMs longest hand-over of a pod that drains
 * @param deadlineMs of each call
 * @param serviceMs mean of the log-normal time that a call computes
 */
record PlannerSetup(
    int pods,
    long podBytes,
    int threads,
    int loaders,
    long leaseMs,
    long planMs,
    long handOverMs,
    long deadlineMs,
    double serviceMs,
    Planner.Config planner,
    long seed) {

  static PlannerSetup of(int pods, long podBytes, long seed) {
    return new PlannerSetup(
        pods, podBytes, 4, 2, 10_000, 1_000, 90_000, 10_000, 20, Planner.Config.defaults(), seed);
  }

  PlannerSetup planEveryMs(long ms) {
    return new PlannerSetup(
        pods,
        podBytes,
        threads,
        loaders,
        leaseMs,
        ms,
        handOverMs,
        deadlineMs,
        serviceMs,
        planner,
        seed);
  }

  PlannerSetup deadlineMs(long ms) {
    return new PlannerSetup(
        pods,
        podBytes,
        threads,
        loaders,
        leaseMs,
        planMs,
        handOverMs,
        ms,
        serviceMs,
        planner,
        seed);
  }

  PlannerSetup serviceMs(double ms) {
    return new PlannerSetup(
        pods,
        podBytes,
        threads,
        loaders,
        leaseMs,
        planMs,
        handOverMs,
        deadlineMs,
        ms,
        planner,
        seed);
  }

  PlannerSetup threads(int count) {
    return new PlannerSetup(
        pods,
        podBytes,
        count,
        loaders,
        leaseMs,
        planMs,
        handOverMs,
        deadlineMs,
        serviceMs,
        planner,
        seed);
  }

  PlannerSetup planner(Planner.Config config) {
    return new PlannerSetup(
        pods,
        podBytes,
        threads,
        loaders,
        leaseMs,
        planMs,
        handOverMs,
        deadlineMs,
        serviceMs,
        config,
        seed);
  }
}
