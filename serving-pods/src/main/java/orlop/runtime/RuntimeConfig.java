package orlop.runtime;

/**
 * Settings of the in-process runtime.
 *
 * @param computeThreads {@code runtime.computeThreads}, 1 to 1024: threads that share the work of
 *     one operator, the calling thread among them. One pool serves all models of the process; it is
 *     made by the first runtime opened and later ones take it as it is.
 * @param gpu {@code runtime.gpu}: load models onto the GPU when one is found; without one, models
 *     are served by the CPU and one log line says why
 * @param gpuDevice {@code runtime.gpuDevice}, 0 to 63: which GPU, counted as CUDA counts them
 * @param trimIntervalMs {@code runtime.trimIntervalMs}, 0 to 3,600,000: after unloads, freed memory
 *     is handed back to the operating system at most once in this many milliseconds; 0 never
 * @param mappedCopies {@code runtime.mappedCopies}: keep an optimised copy of each model of 1 MiB
 *     or more in the disk cache and map it at later loads
 */
public record RuntimeConfig(
    int computeThreads, boolean gpu, int gpuDevice, int trimIntervalMs, boolean mappedCopies) {

  public RuntimeConfig {
    inRange("runtime.computeThreads", computeThreads, 1, 1024);
    inRange("runtime.gpuDevice", gpuDevice, 0, 63);
    inRange("runtime.trimIntervalMs", trimIntervalMs, 0, 3_600_000);
  }

  /** One thread per inference, no GPU, trimming at most once a second, no mapped copies. */
  public static RuntimeConfig defaults() {
    return new RuntimeConfig(1, false, 0, 1000, false);
  }

  private static void inRange(String key, int value, int low, int high) {
    if (value < low || value > high) {
      throw new IllegalArgumentException(
          key + " = " + value + " is out of range, expected " + low + " to " + high);
    }
  }
}
