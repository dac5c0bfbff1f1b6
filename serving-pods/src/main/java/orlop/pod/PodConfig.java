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
  public static Builder builder(String id, Memory capacity) {
    return new Builder(id, capacity);
  }

  /** Starts from these values. */
  public Builder toBuilder() {
    Builder b = new Builder(id, capacity);
    b.host = host;
    b.advertisedAddress = advertisedAddress;
    b.grpcPort = grpcPort;
    b.restPort = restPort;
    b.probePort = probePort;
    b.metricsPort = metricsPort;
    b.metrics = metrics;
    b.preStopPort = preStopPort;
    b.bootstrapMs = bootstrapMs;
    b.failFast = failFast;
    b.zone = zone;
    b.labels = labels;
    b.headroom = headroom;
    b.evictionPolicy = evictionPolicy;
    b.loadingConcurrency = loadingConcurrency;
    b.loadTimeoutMs = loadTimeoutMs;
    b.eventLoops = eventLoops;
    b.computeThreads = computeThreads;
    b.computeQueue = computeQueue;
    b.batch = batch;
    b.maxInFlight = maxInFlight;
    b.maxInFlightBytes = maxInFlightBytes;
    b.maxMessageBytes = maxMessageBytes;
    b.maxWaitMs = maxWaitMs;
    b.unloadWaitMs = unloadWaitMs;
    b.suspectMs = suspectMs;
    b.loadFailureExpiryMs = loadFailureExpiryMs;
    b.restReadTimeoutMs = restReadTimeoutMs;
    b.warmUpMs = warmUpMs;
    b.maxConnectionAgeMs = maxConnectionAgeMs;
    b.maxConnectionAgeGraceMs = maxConnectionAgeGraceMs;
    b.drainTimeoutMs = drainTimeoutMs;
    b.handOverTimeoutMs = handOverTimeoutMs;
    b.payloadHeaders = payloadHeaders;
    b.dataplane = dataplane;
    b.sharedMemory = sharedMemory;
    b.multiModelParallelism = multiModelParallelism;
    b.maxHeaderBytes = maxHeaderBytes;
    b.logCalls = logCalls;
    b.logHeaders = logHeaders;
    b.version = version;
    return b;
  }

  private static void within(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "pod " + key + " is " + value + ", allowed is " + least + " to " + most);
    }
  }

  /** The values of a {@link PodConfig} to be, by name. Not thread-safe. */
  public static final class Builder {
    private final String id;
    private Memory capacity;
    private String host = "0.0.0.0";
    private String advertisedAddress = "";
    private int grpcPort = 8033;
    private int restPort = 8008;
    private int probePort = 8089;
    private int metricsPort = 2112;
    private MetricsConfig metrics = MetricsConfig.DEFAULTS;
    private int preStopPort;
    private long bootstrapMs = 180_000;
    private boolean failFast = true;
    private String zone = "";
    private Set<String> labels = Set.of();
    private Memory headroom = Memory.NONE;
    private Eviction evictionPolicy = Eviction.ADAPTIVE;
    private int loadingConcurrency = 2;
    private long loadTimeoutMs = 600_000;
    private int eventLoops = Math.clamp(Runtime.getRuntime().availableProcessors() / 2, 1, 64);
    private int computeThreads = Runtime.getRuntime().availableProcessors();
    private int computeQueue = 1_024;
    private Batching batch = Batching.defaults();
    private int maxInFlight = 20_000;
    private long maxInFlightBytes = Math.max(64L << 20, Runtime.getRuntime().maxMemory() / 4);
    private int maxMessageBytes = 16 << 20;
    private long maxWaitMs = 300_000;
    private long unloadWaitMs = 60_000;
    private long suspectMs = 5_000;
    private long loadFailureExpiryMs = 900_000;
    private long restReadTimeoutMs = 30_000;
    private int warmUpMs;
    private long maxConnectionAgeMs;
    private long maxConnectionAgeGraceMs = 600_000;
    private long drainTimeoutMs = 30_000;
    private long handOverTimeoutMs;
    private Set<String> payloadHeaders = Set.of("x-request-id", "traceparent");
    private Dataplane dataplane = Dataplane.ANY;
    private SharedMemoryConfig sharedMemory = SharedMemoryConfig.OFF;
    private int multiModelParallelism = 4;
    private int maxHeaderBytes = 8_192;
    private boolean logCalls;
    private Set<String> logHeaders = Set.of();
    private String version = "0.1.0";

    private Builder(String id, Memory capacity) {
      this.id = id;
      this.capacity = capacity;
    }

    public Builder capacity(Memory value) {
      capacity = value;
      return this;
    }

    public Builder host(String value) {
      host = value;
      return this;
    }

    public Builder advertisedAddress(String value) {
      advertisedAddress = value;
      return this;
    }

    /** The four ports, in the order gRPC, REST, probes, metrics. */
    public Builder ports(int grpc, int rest, int probe, int metrics) {
      grpcPort = grpc;
      restPort = rest;
      probePort = probe;
      metricsPort = metrics;
      return this;
    }

    public Builder metrics(MetricsConfig value) {
      metrics = value;
      return this;
    }

    public Builder preStopPort(int value) {
      preStopPort = value;
      return this;
    }

    /** How long a pod counts as new, and whether loads that fail then keep it from being ready. */
    public Builder bootstrap(long ms, boolean failingFast) {
      bootstrapMs = ms;
      failFast = failingFast;
      return this;
    }

    public Builder zone(String value) {
      zone = value;
      return this;
    }

    public Builder labels(Set<String> value) {
      labels = value;
      return this;
    }

    public Builder headroom(Memory value) {
      headroom = value;
      return this;
    }

    public Builder evictionPolicy(Eviction value) {
      evictionPolicy = value;
      return this;
    }

    public Builder loadingConcurrency(int value) {
      loadingConcurrency = value;
      return this;
    }

    public Builder loadTimeoutMs(long value) {
      loadTimeoutMs = value;
      return this;
    }

    public Builder eventLoops(int value) {
      eventLoops = value;
      return this;
    }

    /** Threads that run inferences, and how many inferences may wait for one. */
    public Builder compute(int threads, int queue) {
      computeThreads = threads;
      computeQueue = queue;
      return this;
    }

    public Builder batch(Batching value) {
      batch = value;
      return this;
    }

    /** Calls accepted at the same time, and the bytes that their requests may hold. */
    public Builder inFlight(int calls, long bytes) {
      maxInFlight = calls;
      maxInFlightBytes = bytes;
      return this;
    }

    public Builder maxMessageBytes(int value) {
      maxMessageBytes = value;
      return this;
    }

    public Builder maxWaitMs(long value) {
      maxWaitMs = value;
      return this;
    }

    public Builder unloadWaitMs(long value) {
      unloadWaitMs = value;
      return this;
    }

    public Builder suspectMs(long value) {
      suspectMs = value;
      return this;
    }

    public Builder loadFailureExpiryMs(long value) {
      loadFailureExpiryMs = value;
      return this;
    }

    public Builder restReadTimeoutMs(long value) {
      restReadTimeoutMs = value;
      return this;
    }

    public Builder warmUpMs(int value) {
      warmUpMs = value;
      return this;
    }

    /** After how long a client connects anew, and how long its calls may then take. */
    public Builder connectionAge(long maxMs, long graceMs) {
      maxConnectionAgeMs = maxMs;
      maxConnectionAgeGraceMs = graceMs;
      return this;
    }

    public Builder drainTimeoutMs(long value) {
      drainTimeoutMs = value;
      return this;
    }

    public Builder handOverTimeoutMs(long value) {
      handOverTimeoutMs = value;
      return this;
    }

    public Builder payloadHeaders(Set<String> value) {
      payloadHeaders = value;
      return this;
    }

    public Builder dataplane(Dataplane value) {
      dataplane = value;
      return this;
    }

    public Builder sharedMemory(SharedMemoryConfig value) {
      sharedMemory = value;
      return this;
    }

    public Builder multiModelParallelism(int value) {
      multiModelParallelism = value;
      return this;
    }

    public Builder maxHeaderBytes(int value) {
      maxHeaderBytes = value;
      return this;
    }

    /** A line for each call, with these of its headers. */
    public Builder logCalls(Set<String> headers) {
      logCalls = true;
      logHeaders = headers;
      return this;
    }

    public Builder version(String value) {
      version = value;
      return this;
    }

    /**
     * The immutable whole.
     *
     * @throws IllegalArgumentException naming the key, its value and what is allowed
     */
    public PodConfig build() {
      return new PodConfig(
          id,
          host,
          advertisedAddress,
          grpcPort,
          restPort,
          probePort,
          metricsPort,
          metrics,
          preStopPort,
          bootstrapMs,
          failFast,
          zone,
          labels,
          capacity,
          headroom,
          evictionPolicy,
          loadingConcurrency,
          loadTimeoutMs,
          eventLoops,
          computeThreads,
          computeQueue,
          batch,
          maxInFlight,
          maxInFlightBytes,
          maxMessageBytes,
          maxWaitMs,
          unloadWaitMs,
          suspectMs,
          loadFailureExpiryMs,
          restReadTimeoutMs,
          warmUpMs,
          maxConnectionAgeMs,
          maxConnectionAgeGraceMs,
          drainTimeoutMs,
          handOverTimeoutMs,
          payloadHeaders,
          dataplane,
          sharedMemory,
          multiModelParallelism,
          maxHeaderBytes,
          logCalls,
          logHeaders,
          version);
    }
  }
}
