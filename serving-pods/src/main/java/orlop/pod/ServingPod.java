package orlop.pod;

import inference.GRPCInferenceServiceGrpc;
import io.grpc.BindableService;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallExecutorSupplier;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.HealthStatusManager;
import io.grpc.protobuf.services.ProtoReflectionServiceV1;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import orlop.payload.PayloadLog;
import orlop.placement.HandOver;
import orlop.placement.Memory;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Router;
import orlop.registry.PodSession;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import orlop.runtime.ModelRuntime;

/**
 * A running pod: its fronts, its models and its place in the mesh. Thread-safe.
 *
 * <p>It owns what it starts. Registry, store, runtimes and payload log belong to the caller, who
 * closes them after the pod.
 */
public final class ServingPod implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(ServingPod.class.getName());
  private static final long LAST_WORDS_NS = 1_000_000_000;
  private static final long LOOK_MS = 50;
  private static final long ALONE_MS = 1_000;
  private static final String INFERENCE = GRPCInferenceServiceGrpc.SERVICE_NAME;

  private final PodConfig config;
  private final Registry registry;
  private final Metrics metrics = new Metrics();
  private final EpochClock clock = new EpochClock();

  private final ModelHost host;
  private final Dispatcher dispatcher;
  private final HealthStatusManager health = new HealthStatusManager();
  private final ExecutorService waiting = Executors.newVirtualThreadPerTaskExecutor();
  private final Server own;
  private final StreamRouter router;
  private final RestFront rest;
  private final Pages pages;
  private final PodSession session;
  private final Registry.Subscription watching;
  private final String address;
  private final AtomicBoolean closed = new AtomicBoolean();
  private volatile boolean ready;
  private volatile LogLevel logLevel = LogLevel.ofJdk();

  /**
   * Starts a pod and lets it join the mesh.
   *
   * @param more services for the same gRPC server, such as the management API; their calls run on
   *     virtual threads
   * @throws IOException when a port cannot be opened; the message names it
   * @throws RegistryException when the pod cannot join
   */
  public static ServingPod start(
      PodConfig config,
      Registry registry,
      ModelStore store,
      List<ModelRuntime> runtimes,
      PayloadLog payloads,
      List<BindableService> more)
      throws IOException, RegistryException {
    return new ServingPod(config, registry, store, runtimes, payloads, more);
  }

  private ServingPod(
      PodConfig config,
      Registry registry,
      ModelStore store,
      List<ModelRuntime> runtimes,
      PayloadLog payloads,
      List<BindableService> more)
      throws IOException, RegistryException {
    this.config = config;
    this.registry = registry;
    Loader loader = new Loader(store, runtimes, config.loadTimeoutMs());
    host =
        new ModelHost(config, registry, loader, config.evictionPolicy().policy(), metrics, clock);
    PayloadTap tap = new PayloadTap(payloads, config.payloadHeaders(), clock);
    dispatcher =
        new Dispatcher(
            config, registry, new Router(new Placer()), host, tap, metrics, clock, this::anyLoop);
    Front front = new Front(dispatcher, () -> ready, new CurrentLogLevel());
    Undo undo = new Undo();
    undo.add(dispatcher).add(waiting::shutdownNow);
    try {
      own = own(front, more);
      undo.add(own::shutdownNow);
      router = new StreamRouter(dispatcher, here(own), services(own));
      undo.add(router);
      rest = new RestFront(config, front, dispatcher);
      undo.add(rest);
      pages = new Pages(config, () -> ready, metrics);
      undo.add(pages);
      address =
          config.advertisedAddress().isEmpty()
              ? "localhost:" + router.port()
              : config.advertisedAddress();
      Pod self = self();
      session = registry.join(self);
      host.start(session, new PodRecord(self));
    } catch (IOException | RegistryException | RuntimeException e) {
      undo.all();
      throw e;
    }
    watching = registry.listen(router::keepOnly);
    gauges(store, payloads);
    ready = true;
    healthy(ServingStatus.SERVING);
    LOG.log(
        Level.INFO,
        "pod ''{0}'' serves at {1} (gRPC), REST {2}, probes {3}, metrics {4}, capacity {5} MiB",
        config.id(),
        address,
        String.valueOf(restPort()),
        String.valueOf(probePort()),
        String.valueOf(metricsPort()),
        String.valueOf(config.capacity().ramBytes() >> 20));
  }

  /**
   * The server of everything that needs no model, reached through the router alone: it listens on
   * the loopback address only.
   */
  private Server own(Front front, List<BindableService> more) throws IOException {
    NettyServerBuilder builder =
        NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
            .directExecutor()
            .callExecutor(new ByService())
            .maxInboundMessageSize(config.maxMessageBytes())
            .permitKeepAliveTime(5, TimeUnit.SECONDS)
            .permitKeepAliveWithoutCalls(true)
            .intercept(Statuses.SHORT)
            .addService(front.service())
            .addService(new ControlService(dispatcher, this::drain))
            .addService(health.getHealthService())
            .addService(ProtoReflectionServiceV1.newInstance())
            .addService(alphaReflection());
    more.forEach(builder::addService);
    return builder.build().start();
  }

  /** Of the whole and of each service by its name. */
  private void healthy(ServingStatus status) {
    health.setStatus("", status);
    services(own).forEach(service -> health.setStatus(service, status));
  }

  @SuppressWarnings("deprecation") // Tools of some years ago ask by the alpha service alone.
  private static BindableService alphaReflection() {
    return io.grpc.protobuf.services.ProtoReflectionService.newInstance();
  }

  private static Outlet.Target here(Server own) {
    String host = InetAddress.getLoopbackAddress().getHostAddress();
    return new Outlet.Target("own services", host + ":" + own.getPort(), false);
  }

  private static Set<String> services(Server own) {
    return own.getServices().stream()
        .map(service -> service.getServiceDescriptor().getName())
        .collect(Collectors.toUnmodifiableSet());
  }

  private Loop anyLoop() {
    return router.anyLoop();
  }

  /** What never blocks stays on the event loop. */
  private final class ByService implements ServerCallExecutorSupplier {
    @Override
    public <Q, A> Executor getExecutor(ServerCall<Q, A> call, Metadata headers) {
      MethodDescriptor<Q, A> method = call.getMethodDescriptor();
      return INFERENCE.equals(method.getServiceName())
              && Front.AT_ONCE.contains(method.getBareMethodName())
          ? Runnable::run
          : waiting;
    }
  }

  private Pod self() {
    return new Pod(
        config.id(),
        address,
        config.zone(),
        config.labels(),
        config.capacity().minus(config.headroom()),
        Memory.NONE,
        0,
        0,
        false,
        clock.nowMs(),
        config.version());
  }

  private void gauges(ModelStore store, PayloadLog payloads) {
    for (String name : store.counts().keySet()) {
      metrics.count(
          "orlop_pull_" + name,
          "Model puller: " + name,
          () -> store.counts().getOrDefault(name, 0L));
    }
    long capacityBytes = config.capacity().minus(config.headroom()).ramBytes();
    metrics.gauge(
        "modelmesh_instance_capacity_bytes", "Memory that models may occupy", () -> capacityBytes);
    metrics.gauge(
        "modelmesh_instance_used_bytes",
        "Memory taken by models that are loading, loaded or unloading",
        host::usedBytes);
    metrics.gauge(
        "modelmesh_instance_models_total", "Models loaded in this pod", host::loadedCount);
    metrics.gauge(
        "orlop_unloads_failing",
        "Models whose last unload failed and whose memory is still taken",
        host::unloadsFailing);
    metrics.gauge("orlop_calls_in_flight", "Calls accepted and not answered", dispatcher::inFlight);
    metrics.gauge(
        "orlop_compute_queue", "Inferences that wait for a compute thread", this::queuedInferences);
    metrics.payloads(payloads::counters);
  }

  public String id() {
    return config.id();
  }

  /** {@code host:port} of the gRPC front, as other pods reach it. */
  public String address() {
    return address;
  }

  public int grpcPort() {
    return router.port();
  }

  public int restPort() {
    return rest.port();
  }

  public int probePort() {
    return pages.probePort();
  }

  public int metricsPort() {
    return pages.metricsPort();
  }

  /** What this pod did since it started. */
  public PodStats stats() {
    return metrics.stats();
  }

  /** Models that can be called here now. */
  public int loadedModels() {
    return host.loadedCount();
  }

  /**
   * Tells the pod how this process's log is set, for Triton's log settings. Until then they speak
   * of the JDK's own logging.
   */
  public void logLevel(LogLevel level) {
    logLevel = level;
  }

  private final class CurrentLogLevel implements LogLevel {
    @Override
    public Level get() {
      return logLevel.get();
    }

    @Override
    public void set(Level level) {
      logLevel.set(level);
    }
  }

  ModelHost host() {
    return host;
  }

  RestFront rest() {
    return rest;
  }

  /** Calls accepted and not answered. */
  int inFlight() {
    return dispatcher.inFlight();
  }

  /** Bytes of requests and answers that are kept in memory. */
  long heldBytes() {
    return dispatcher.heldBytes();
  }

  /** Calls kept until a load has ended. */
  int waiting() {
    return host.waiting();
  }

  /** Inferences that wait for a compute thread. */
  int queuedInferences() {
    return dispatcher.compute.getQueue().size();
  }

  /**
   * What failed to load here may be tried again at once: credentials, a store or a runtime changed.
   */
  public void retryFailures() {
    host.reconfigured();
  }

  /**
   * Announces that this pod goes: it loads nothing new and other pods stop choosing it; what is
   * loaded serves on. Idempotent; returns at once.
   */
  public void drain() {
    ready = false;
    healthy(ServingStatus.NOT_SERVING);
    host.drain();
  }

  /**
   * Drains, waits at most {@code handOverTimeoutMs} until other pods hold what was used lately,
   * serving on meanwhile, leaves the mesh, waits for the calls in flight for at most {@code
   * drainTimeoutMs} and stops. Idempotent.
   */
  @Override
  public void close() {
    if (!closed.compareAndSet(false, true)) {
      return;
    }
    drain();
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(config.drainTimeoutMs());
    try {
      handOver();
      deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(config.drainTimeoutMs());
      session.flush(Math.min(1_000, config.drainTimeoutMs()));
      // The registry forgets this pod first, so that no new call is sent into a closing server.
      session.close();
      router.shutdown(leftMs(deadlineNs));
      rest.stop(leftMs(deadlineNs));
      if (!awaitCalls(deadlineNs)) {
        LOG.log(
            Level.WARNING,
            "pod ''{0}'' ends with {1} calls in flight after {2} ms",
            config.id(),
            dispatcher.inFlight(),
            config.drainTimeoutMs());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      stop(leftMs(deadlineNs));
    }
  }

  private void handOver() throws InterruptedException {
    long startNs = System.nanoTime();
    HandOver handOver = new HandOver(config.id(), 0);
    long connectedMs = 0;
    while (true) {
      long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs);
      connectedMs = registry.connected() ? tookMs : connectedMs;
      // While the store is away nobody hears that this pod goes, nor can it see who holds what.
      boolean alone = tookMs - connectedMs > ALONE_MS;
      List<String> mine = host.usedWithin(HandOver.RECENT_MS);
      if (alone
          || tookMs >= config.handOverTimeoutMs()
          || handOver.over(registry.view(), mine, tookMs)) {
        int left = handOver.missing(registry.view(), mine).size();
        if (config.handOverTimeoutMs() > 0 && left > 0) {
          LOG.log(
              Level.INFO,
              "pod ''{0}'' goes after {1} ms with {2} models that no other pod holds",
              config.id(),
              String.valueOf(tookMs),
              String.valueOf(left));
        }
        return;
      }
      TimeUnit.MILLISECONDS.sleep(LOOK_MS);
    }
  }

  /**
   * Waits for the calls in flight. Streams that only watch never end by themselves: once nobody
   * waits for an inference, what is still open gets one more second.
   */
  private boolean awaitCalls(long deadlineNs) throws InterruptedException {
    long untilNs = deadlineNs;
    boolean idle = false;
    while (leftMs(untilNs) > 0) {
      if (router.terminated()) {
        return true;
      }
      Thread.sleep(Math.min(20, leftMs(untilNs)));
      if (!idle && dispatcher.inFlight() == 0) {
        idle = true;
        untilNs = Math.min(deadlineNs, System.nanoTime() + LAST_WORDS_NS);
      }
    }
    return dispatcher.inFlight() == 0;
  }

  /** Ends without a word to anybody, as a crash would: the registry still believes in it. */
  void crash() {
    if (closed.compareAndSet(false, true)) {
      router.close();
      stop(0);
    }
  }

  private void stop(long leftMs) {
    router.close();
    own.shutdownNow();
    watching.close();
    rest.close();
    pages.close();
    dispatcher.close();
    host.close(leftMs);
    waiting.shutdownNow();
  }

  private static long leftMs(long deadlineNs) {
    return Math.max(0, TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime()));
  }
}
