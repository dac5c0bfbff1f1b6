package orlop.pod;

import java.util.Set;
import orlop.placement.Eviction;
import orlop.placement.Memory;

/** The values of a {@link PodConfig} to be, by name. Not thread-safe. */
public final class PodConfigBuilder {
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

  PodConfigBuilder(String id, Memory capacity) {
    this.id = id;
    this.capacity = capacity;
  }

  /** With the values of another one. */
  static PodConfigBuilder of(PodConfig config) {
    PodConfigBuilder b = new PodConfigBuilder(config.id(), config.capacity());
    b.host = config.host();
    b.advertisedAddress = config.advertisedAddress();
    b.grpcPort = config.grpcPort();
    b.restPort = config.restPort();
    b.probePort = config.probePort();
    b.metricsPort = config.metricsPort();
    b.metrics = config.metrics();
    b.preStopPort = config.preStopPort();
    b.bootstrapMs = config.bootstrapMs();
    b.failFast = config.failFast();
    b.zone = config.zone();
    b.labels = config.labels();
    b.headroom = config.headroom();
    b.evictionPolicy = config.evictionPolicy();
    b.loadingConcurrency = config.loadingConcurrency();
    b.loadTimeoutMs = config.loadTimeoutMs();
    b.eventLoops = config.eventLoops();
    b.computeThreads = config.computeThreads();
    b.computeQueue = config.computeQueue();
    b.batch = config.batch();
    b.maxInFlight = config.maxInFlight();
    b.maxInFlightBytes = config.maxInFlightBytes();
    b.maxMessageBytes = config.maxMessageBytes();
    b.maxWaitMs = config.maxWaitMs();
    b.unloadWaitMs = config.unloadWaitMs();
    b.suspectMs = config.suspectMs();
    b.loadFailureExpiryMs = config.loadFailureExpiryMs();
    b.restReadTimeoutMs = config.restReadTimeoutMs();
    b.warmUpMs = config.warmUpMs();
    b.maxConnectionAgeMs = config.maxConnectionAgeMs();
    b.maxConnectionAgeGraceMs = config.maxConnectionAgeGraceMs();
    b.drainTimeoutMs = config.drainTimeoutMs();
    b.handOverTimeoutMs = config.handOverTimeoutMs();
    b.payloadHeaders = config.payloadHeaders();
    b.dataplane = config.dataplane();
    b.sharedMemory = config.sharedMemory();
    b.multiModelParallelism = config.multiModelParallelism();
    b.maxHeaderBytes = config.maxHeaderBytes();
    b.logCalls = config.logCalls();
    b.logHeaders = config.logHeaders();
    b.version = config.version();
    return b;
  }

  public PodConfigBuilder capacity(Memory value) {
    capacity = value;
    return this;
  }

  public PodConfigBuilder host(String value) {
    host = value;
    return this;
  }

  public PodConfigBuilder advertisedAddress(String value) {
    advertisedAddress = value;
    return this;
  }

  /** The four ports, in the order gRPC, REST, probes, metrics. */
  public PodConfigBuilder ports(int grpc, int rest, int probe, int metrics) {
    grpcPort = grpc;
    restPort = rest;
    probePort = probe;
    metricsPort = metrics;
    return this;
  }

  public PodConfigBuilder metrics(MetricsConfig value) {
    metrics = value;
    return this;
  }

  public PodConfigBuilder preStopPort(int value) {
    preStopPort = value;
    return this;
  }

  /** How long a pod counts as new, and whether loads that fail then keep it from being ready. */
  public PodConfigBuilder bootstrap(long ms, boolean failingFast) {
    bootstrapMs = ms;
    failFast = failingFast;
    return this;
  }

  public PodConfigBuilder zone(String value) {
    zone = value;
    return this;
  }

  public PodConfigBuilder labels(Set<String> value) {
    labels = value;
    return this;
  }

  public PodConfigBuilder headroom(Memory value) {
    headroom = value;
    return this;
  }

  public PodConfigBuilder evictionPolicy(Eviction value) {
    evictionPolicy = value;
    return this;
  }

  public PodConfigBuilder loadingConcurrency(int value) {
    loadingConcurrency = value;
    return this;
  }

  public PodConfigBuilder loadTimeoutMs(long value) {
    loadTimeoutMs = value;
    return this;
  }

  public PodConfigBuilder eventLoops(int value) {
    eventLoops = value;
    return this;
  }

  /** Threads that run inferences, and how many inferences may wait for one. */
  public PodConfigBuilder compute(int threads, int queue) {
    computeThreads = threads;
    computeQueue = queue;
    return this;
  }

  public PodConfigBuilder batch(Batching value) {
    batch = value;
    return this;
  }

  /** Calls accepted at the same time, and the bytes that their requests may hold. */
  public PodConfigBuilder inFlight(int calls, long bytes) {
    maxInFlight = calls;
    maxInFlightBytes = bytes;
    return this;
  }

  public PodConfigBuilder maxMessageBytes(int value) {
    maxMessageBytes = value;
    return this;
  }

  public PodConfigBuilder maxWaitMs(long value) {
    maxWaitMs = value;
    return this;
  }

  public PodConfigBuilder unloadWaitMs(long value) {
    unloadWaitMs = value;
    return this;
  }

  public PodConfigBuilder suspectMs(long value) {
    suspectMs = value;
    return this;
  }

  public PodConfigBuilder loadFailureExpiryMs(long value) {
    loadFailureExpiryMs = value;
    return this;
  }

  public PodConfigBuilder restReadTimeoutMs(long value) {
    restReadTimeoutMs = value;
    return this;
  }

  public PodConfigBuilder warmUpMs(int value) {
    warmUpMs = value;
    return this;
  }

  /** After how long a client connects anew, and how long its calls may then take. */
  public PodConfigBuilder connectionAge(long maxMs, long graceMs) {
    maxConnectionAgeMs = maxMs;
    maxConnectionAgeGraceMs = graceMs;
    return this;
  }

  public PodConfigBuilder drainTimeoutMs(long value) {
    drainTimeoutMs = value;
    return this;
  }

  public PodConfigBuilder handOverTimeoutMs(long value) {
    handOverTimeoutMs = value;
    return this;
  }

  public PodConfigBuilder payloadHeaders(Set<String> value) {
    payloadHeaders = value;
    return this;
  }

  public PodConfigBuilder dataplane(Dataplane value) {
    dataplane = value;
    return this;
  }

  public PodConfigBuilder sharedMemory(SharedMemoryConfig value) {
    sharedMemory = value;
    return this;
  }

  public PodConfigBuilder multiModelParallelism(int value) {
    multiModelParallelism = value;
    return this;
  }

  public PodConfigBuilder maxHeaderBytes(int value) {
    maxHeaderBytes = value;
    return this;
  }

  /** A line for each call, with these of its headers. */
  public PodConfigBuilder logCalls(Set<String> headers) {
    logCalls = true;
    logHeaders = headers;
    return this;
  }

  public PodConfigBuilder version(String value) {
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
