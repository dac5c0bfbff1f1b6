package orlop.pod;

import java.util.Set;
import orlop.placement.Eviction;
import orlop.placement.Memory;

/**
 * Everything that a {@link ServingPod} can be told. Immutable; port 0 takes a free one.
 *
 * @param id unique in the mesh, a new one for each start of the process; 1 to 128 printable ASCII
 *     characters without a slash
 * @param host address to listen on; default {@code 0.0.0.0}
 * @param advertisedAddress {@code host:port} by which other pods reach the gRPC front; empty takes
 *     the loopback name and the real port, which suits pods of one machine
 * @param grpcPort V2 gRPC and management; default 8033
 * @param restPort V2 REST; default 8008
 * @param probePort {@code /ready} and {@code /live}; default 8089
 * @param metricsPort {@code /metrics}; default 2112
 * @param metrics what they show, and how
 * @param preStopPort a further port for {@code /prestop}, which the probe port has, too; default 0,
 *     which opens none
 * @param bootstrapMs how long after the start a pod stays not ready while another one drains, and
 *     counts loads that fail, 0 to 3,600,000; default 180,000
 * @param failFast whether a pod whose loads fail in that time stays not ready; default true
 * @param zone failure domain, may be empty
 * @param labels what models may require or prefer
 * @param capacity memory that models may occupy
 * @param headroom part of the capacity that is kept free for running inferences
 * @param evictionPolicy which model leaves first when memory is full; default {@code adaptive}
 * @param loadingConcurrency models loaded at the same time, 1 to 256; default 2
 * @param loadTimeoutMs longest that one load into memory may take once its files are on the disk, 1
 *     to 86,400,000; default 600,000. Past it the load counts as failed, its place is free again,
 *     and what it still brings is thrown away.
 * @param eventLoops threads that move the bytes of all gRPC connections, 1 to 64; default one for
 *     each two cores
 * @param computeThreads platform threads that run inferences, 1 to 1,024; default one per core
 * @param computeQueue inferences that may wait for such a thread before the next is refused, 1 to
 *     1,000,000; default 1,024
 * @param batch how far requests of one model run together
 * @param maxInFlight calls accepted at the same time, those that wait for a load or for another pod
 *     included, 1 to 1,000,000; default 20,000
 * @param maxInFlightBytes bytes that the requests of those calls may hold, at least {@code
 *     maxMessageBytes}; default a quarter of the heap
 * @param maxMessageBytes largest message in either direction, 1 KiB to 1 GiB; default 16 MiB
 * @param maxWaitMs longest that a call without a deadline waits for a load or for another pod, 1 to
 *     3,600,000; default 300,000
 * @param unloadWaitMs how long an unload waits for the calls that use the model before it is tried
 *     again, 1 to 3,600,000; default 60,000
 * @param suspectMs how long routing avoids a pod that could not be reached, 1 to 600,000; default
 *     5,000
 * @param loadFailureExpiryMs longest pause after a failed load before the next call tries it again,
 *     1 to 86,400,000; default 900,000. The first one is 10 s at most, and each doubles; what only
 *     a change of the model can help pauses so long at once.
 * @param restReadTimeoutMs longest that a REST client may take to send the head of a request, and
 *     to begin with its body or with reading its answer, 100 to 3,600,000; default 30,000. A body
 *     or an answer on its way gets one second more for each 16 KiB that have passed.
 * @param warmUpMs how long a pod may call samples of its runtimes before it joins the mesh, 0 (not
 *     at all, the default here) to 60,000
 * @param maxConnectionAgeMs after how long a client is asked to connect anew, give or take a tenth,
 *     1,000 to 86,400,000; default 0, which lets connections live
 * @param maxConnectionAgeGraceMs how long its calls may then take, 0 to 86,400,000; default 600,000
 * @param drainTimeoutMs how long {@link ServingPod#close} waits for calls in flight, 0 to
 *     3,600,000; default 30,000
 * @param handOverTimeoutMs how long {@link ServingPod#close} waits, before that, until the models
 *     that were used lately stand in other pods, 0 to 3,600,000; default 0, which waits for nothing
 * @param payloadHeaders names of the request headers that payload events may carry, in lower case
 * @param dataplane which methods may be called for a model; default: every method
 * @param sharedMemory who may have tensors in shared memory; default nobody
 * @param multiModelParallelism how many of the models of one call that names several are asked at
 *     the same time, 1 to 1,024; default 4
 * @param maxHeaderBytes largest header list of a call or of an answer, counted as HTTP/2 does:
 *     names, values and 32 for each, 1,024 to 1,048,576; default 8,192
 * @param logCalls whether each call is a line in the log; default false
 * @param logHeaders names of the request headers in that line, in lower case
 * @param version of the software, as it is told to clients and to other pods
 */
public record PodConfig(
    String id,
    String host,
    String advertisedAddress,
    int grpcPort,
    int restPort,
    int probePort,
    int metricsPort,
    MetricsConfig metrics,
    int preStopPort,
    long bootstrapMs,
    boolean failFast,
    String zone,
    Set<String> labels,
    Memory capacity,
    Memory headroom,
    Eviction evictionPolicy,
    int loadingConcurrency,
    long loadTimeoutMs,
    int eventLoops,
    int computeThreads,
    int computeQueue,
    Batching batch,
    int maxInFlight,
    long maxInFlightBytes,
    int maxMessageBytes,
    long maxWaitMs,
    long unloadWaitMs,
    long suspectMs,
    long loadFailureExpiryMs,
    long restReadTimeoutMs,
    int warmUpMs,
    long maxConnectionAgeMs,
    long maxConnectionAgeGraceMs,
    long drainTimeoutMs,
    long handOverTimeoutMs,
    Set<String> payloadHeaders,
    Dataplane dataplane,
    SharedMemoryConfig sharedMemory,
    int multiModelParallelism,
    int maxHeaderBytes,
    boolean logCalls,
    Set<String> logHeaders,
    String version) {

  public PodConfig {
    if (!id.matches("[!-.0-~]{1,128}")) {
      throw new IllegalArgumentException(
          "pod id is '" + id + "', allowed are 1 to 128 printable ASCII characters without '/'");
    }
    if (!advertisedAddress.isEmpty() && !advertisedAddress.matches(".+:[0-9]{1,5}")) {
      throw new IllegalArgumentException(
          "pod advertisedAddress is '" + advertisedAddress + "', expected host:port");
    }
    within("grpcPort", grpcPort, 0, 65_535);
    within("restPort", restPort, 0, 65_535);
    within("probePort", probePort, 0, 65_535);
    within("metricsPort", metricsPort, 0, 65_535);
    within("preStopPort", preStopPort, 0, 65_535);
    within("bootstrapMs", bootstrapMs, 0, 3_600_000);
    if (capacity.ramBytes() < 1) {
      throw new IllegalArgumentException(
          "pod capacity is " + capacity + ", expected at least 1 byte of RAM");
    }
    if (!headroom.fitsIn(capacity) || headroom.equals(capacity)) {
      throw new IllegalArgumentException(
          "pod headroom is " + headroom + ", allowed is less than the capacity " + capacity);
    }
    within("loadingConcurrency", loadingConcurrency, 1, 256);
    within("loadTimeoutMs", loadTimeoutMs, 1, 86_400_000);
    within("eventLoops", eventLoops, 1, 64);
    within("computeThreads", computeThreads, 1, 1_024);
    within("computeQueue", computeQueue, 1, 1_000_000);
    within("maxInFlight", maxInFlight, 1, 1_000_000);
    within("maxMessageBytes", maxMessageBytes, 1 << 10, 1 << 30);
    within("maxInFlightBytes", maxInFlightBytes, maxMessageBytes, Long.MAX_VALUE);
    within("maxWaitMs", maxWaitMs, 1, 3_600_000);
    within("unloadWaitMs", unloadWaitMs, 1, 3_600_000);
    within("suspectMs", suspectMs, 1, 600_000);
    within("loadFailureExpiryMs", loadFailureExpiryMs, 1, 86_400_000);
    within("restReadTimeoutMs", restReadTimeoutMs, 100, 3_600_000);
    within("warmUpMs", warmUpMs, 0, 60_000);
    within(
        "maxConnectionAgeMs", maxConnectionAgeMs, maxConnectionAgeMs == 0 ? 0 : 1_000, 86_400_000);
    within("maxConnectionAgeGraceMs", maxConnectionAgeGraceMs, 0, 86_400_000);
    within("drainTimeoutMs", drainTimeoutMs, 0, 3_600_000);
    within("handOverTimeoutMs", handOverTimeoutMs, 0, 3_600_000);
    within("multiModelParallelism", multiModelParallelism, 1, 1_024);
    within("maxHeaderBytes", maxHeaderBytes, 1_024, 1 << 20);
    labels = Set.copyOf(labels);
    payloadHeaders = textHeaders("payloadHeaders", payloadHeaders);
    logHeaders = textHeaders("logHeaders", logHeaders);
  }

  private static Set<String> textHeaders(String key, Set<String> names) {
    for (String name : names) {
      if (!name.matches("[0-9a-z_.-]+") || name.endsWith("-bin")) {
        throw new IllegalArgumentException(
            "pod "
                + key
                + " holds '"
                + name
                + "', allowed are names of text headers in lower case: letters, digits, '-', '_',"
                + " '.', not ending in -bin");
      }
    }
    return Set.copyOf(names);
  }

  /** Starts from the defaults; memory has none. */
  public static PodConfigBuilder builder(String id, Memory capacity) {
    return new PodConfigBuilder(id, capacity);
  }

  /** Starts from these values. */
  public PodConfigBuilder toBuilder() {
    return PodConfigBuilder.of(this);
  }

  private static void within(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "pod " + key + " is " + value + ", allowed is " + least + " to " + most);
    }
  }
}
