package orlop.runtime;

import java.util.Set;

/**
 * A model server beside the pod that speaks {@code mmesh.ModelRuntime}. Immutable.
 *
 * @param address where it takes {@code mmesh.ModelRuntime} calls: {@code host:port}, or {@code
 *     unix:} and the path of a socket; empty: there is no runtime beside the pod
 * @param inferenceAddress where it takes inferences, in the same form; empty: at {@code address}
 * @param modelTypes what it loads, without versions, such as {@code sklearn}; the other types stay
 *     with the runtimes in the pod. Empty: it loads every type
 * @param pull whether the pod brings the files of a model to its own disk and tells the runtime
 *     where; else the runtime is told path and key as they were registered and brings them itself
 * @param readyTimeoutMs how long the pod waits at its start until the runtime says that it is
 *     ready, 1 to 3,600,000; default 180,000
 * @param maxInFlightPerCopy calls that may run and wait for one copy of a model whose runtime
 *     limits its concurrency, 0 to 1,000,000; 0: the larger of 16 and eight times that limit
 */
public record SidecarConfig(
    String address,
    String inferenceAddress,
    Set<String> modelTypes,
    boolean pull,
    long readyTimeoutMs,
    int maxInFlightPerCopy) {
  private static final String FORM = "(unix:/.+)|(.+:[0-9]{1,5})";

  public SidecarConfig {
    form("address", address);
    form("inferenceAddress", inferenceAddress);
    if (address.isEmpty() && !inferenceAddress.isEmpty()) {
      throw new IllegalArgumentException(
          "sidecar inferenceAddress is '" + inferenceAddress + "' and address is empty: give both");
    }
    modelTypes = Set.copyOf(modelTypes);
    within("readyTimeoutMs", readyTimeoutMs, 1, 3_600_000);
    within("maxInFlightPerCopy", maxInFlightPerCopy, 0, 1_000_000);
  }

  /** One that loads all types and brings the files itself. */
  public static SidecarConfig at(String address) {
    return new SidecarConfig(address, "", Set.of(), false, 180_000, 0);
  }

  /** Whether there is a runtime beside the pod. */
  public boolean configured() {
    return !address.isEmpty();
  }

  /** Whether no type is left to the runtimes in the pod. */
  public boolean takesAll() {
    return modelTypes.isEmpty();
  }

  /** Where inferences go. */
  public String inference() {
    return inferenceAddress.isEmpty() ? address : inferenceAddress;
  }

  private static void form(String key, String value) {
    if (!value.isEmpty() && !value.matches(FORM)) {
      throw new IllegalArgumentException(
          "sidecar %s is '%s', expected host:port or unix:/path".formatted(key, value));
    }
  }

  private static void within(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "sidecar " + key + " is " + value + ", allowed is " + least + " to " + most);
    }
  }
}
