package orlop.controller;

/**
 * Settings of the controller.
 *
 * @param id names this candidate in the election; unique in the mesh
 * @param planIntervalMs time between two plans, 100 to 60,000
 * @param demandIntervalMs time between two demand reports of a pod, 100 to 60,000
 * @param callTimeoutMs bound on one call to a pod that does not wait for a load, 100 to 60,000
 * @param loadTimeoutMs bound on one call that waits for a load, 1,000 to 3,600,000
 * @param metricsPort where a controller shows its {@code /metrics}, 0 to 65,535; 0: nowhere
 * @param defaultAliasOwner owner of the aliases that a management call creates without naming one;
 *     empty for none
 */
public record ControllerConfig(
    String id,
    long planIntervalMs,
    long demandIntervalMs,
    long callTimeoutMs,
    long loadTimeoutMs,
    int metricsPort,
    String defaultAliasOwner) {

  public ControllerConfig {
    if (id.isEmpty()) {
      throw new IllegalArgumentException("controller.id must not be empty");
    }
    check("planIntervalMs", planIntervalMs, 100, 60_000);
    check("demandIntervalMs", demandIntervalMs, 100, 60_000);
    check("callTimeoutMs", callTimeoutMs, 100, 60_000);
    check("loadTimeoutMs", loadTimeoutMs, 1_000, 3_600_000);
    check("metricsPort", metricsPort, 0, 65_535);
  }

  public static ControllerConfig defaults(String id) {
    return new ControllerConfig(id, 1_000, 2_000, 5_000, 300_000, 0, "");
  }

  private static void check(String name, long value, long min, long max) {
    if (value < min || value > max) {
      throw new IllegalArgumentException(
          "controller.%s is %d, must be %d to %d".formatted(name, value, min, max));
    }
  }
}
