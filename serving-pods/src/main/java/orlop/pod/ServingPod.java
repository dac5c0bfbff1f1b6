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
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import orlop.payload.PayloadLog;
import orlop.placement.HandOver;
import orlop.placement.Memory;
import orlop.placement.MeshTotals;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Router;
import orlop.registry.PodSession;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import orlop.runtime.ModelRuntime;
import orlop.runtime.SidecarRuntime;

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
  private final Metrics metrics;
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
   * Starts a pod and lets it join the mesh, after a {@link Rehearsal} if the configuration wants
   * it.
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
    return start(config, registry, store, runtimes, payloads, more, PodTls.NONE);
  }

  /** As the other, with what is encrypted. */
  public static ServingPod start(
      PodConfig config,
      Registry registry,
      ModelStore store,
      List<ModelRuntime> runtimes,
      PayloadLog payloads,
      List<BindableService> more,
      PodTls tls)
      throws IOException, RegistryException {
    ServingPod pod = prepare(config, registry, store, runtimes, payloads, more, tls);
    pod.open();
    return pod;
  }

  /** As {@link #start}, but the pod does not say that it is ready before {@link #open}. */
  public static ServingPod prepare(
      PodConfig config,
      Registry registry,
      ModelStore store,
      List<ModelRuntime> runtimes,
      PayloadLog payloads,
      List<BindableService> more,
      PodTls tls)
      throws IOException, RegistryException {
    Rehearsal.before(config, runtimes);
    return new ServingPod(config, registry, store, runtimes, payloads, more, tls);
  }

  private ServingPod(
      PodConfig config,
      Registry registry,
      ModelStore store,
      List<ModelRuntime> runtimes,
      PayloadLog payloads,
      List<BindableService> more,
      PodTls tls)
      throws IOException, RegistryException {
    this.config = config;
    this.registry = registry;
    this.metrics = new Metrics(config.metrics());
    Loader loader = new Loader(store, runtimes, config);
    host =
        new ModelHost(config, registry, loader, config.evictionPolicy().policy(), metrics, clock);
    PayloadTap tap = new PayloadTap(payloads, config.payloadHeaders(), clock);
    dispatcher =
        new Dispatcher(
            config,
            registry,
            new Router(new Placer()),
            host,
            tap,
            metrics,
            clock,
            tls.mesh(),
            this::anyLoop);
    Front front = new Front(dispatcher, () -> notReady().isEmpty(), new CurrentLogLevel());
    Undo undo = new Undo();
    undo.add(dispatcher).add(waiting::shutdownNow);
    try {
      own = own(front, more);
      undo.add(own::shutdownNow);
      router = new StreamRouter(dispatcher, here(own), names(own));
      undo.add(router);
      rest = new RestFront(config, front, dispatcher);
      undo.add(rest);
      pages = new Pages(config, this::notReady, host::draining, metrics, tls.metrics());
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
    for (ModelRuntime runtime : runtimes) {
      if (runtime instanceof SidecarRuntime beside) {
        beside.watched(host::lostBeside, host::reconfigured);
      }
    }
    gauges(store, payloads);
    PodTls.Mesh encrypted = tls.mesh();
    if (encrypted != null) {
      metrics.gauge(
          "orlop_tls_certificate_expires_seconds",
          "When this pod's certificate ends, seconds since the epoch",
          () -> encrypted.expiresMs().getAsLong() / 1e3);
    }
  }

  /** From now on traffic may come, unless the pod drains already. */
  public void open() {
    ready = true;
    if (host.draining()) {
      return;
    }
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
            .maxInboundMetadataSize(config.maxHeaderBytes())
            .permitKeepAliveTime(5, TimeUnit.SECONDS)
            .permitKeepAliveWithoutCalls(true)
            .intercept(Statuses.ENDS)
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
    own.getServices()
        .forEach(service -> health.setStatus(service.getServiceDescriptor().getName(), status));
  }

  @SuppressWarnings("deprecation") // Tools of some years ago ask by the alpha service alone.
  private static BindableService alphaReflection() {
    return io.grpc.protobuf.services.ProtoReflectionService.newInstance();
  }

  private static Outlet.Target here(Server own) {
    String host = InetAddress.getLoopbackAddress().getHostAddress();
    return new Outlet.Target("own services", host + ":" + own.getPort(), false);
  }

  /** Of V2, a runtime beside the pod may have methods that the pod has not. */
  private static Set<String> names(Server own) {
    return own.getServices().stream()
        .flatMap(
            service ->
                service.getServiceDescriptor().getName().equals(INFERENCE)
                    ? service.getMethods().stream()
                        .map(method -> method.getMethodDescriptor().getFullMethodName())
                    : Stream.of(service.getServiceDescriptor().getName()))
        .collect(Collectors.toUnmodifiableSet());
  }

  /** Why no traffic may come; empty when it may. */
  private String notReady() {
    if (host.draining()) {
      return "this pod drains";
    }
    return ready ? host.bootstrap().why() : "this pod starts";
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
        "modelmesh_instance_used_bps",
        "Of the memory for models taken, in 1/100 of a percent",
        () -> capacityBytes == 0 ? 0 : 10_000 * host.usedBytes() / capacityBytes);
    metrics.gauge(
        "modelmesh_instance_lru_seconds",
        "When the model unused for longest was last used, seconds since the epoch; 0 without one",
        () -> host.oldestUseMs() / 1_000);
    metrics.gauge(
        "modelmesh_instance_lru_age_seconds",
        "How long ago that was; 0 without one",
        () -> host.oldestUseMs() == 0 ? 0 : (clock.nowMs() - host.oldestUseMs()) / 1_000);
    metrics.models(host::stats);
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
    metrics.processors(payloads::observed);
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

  /** Shows the models of the whole mesh among the metrics, while {@code leads} says so. */
  public void showMesh(BooleanSupplier leads) {
    metrics.add(
        text -> {
          if (leads.getAsBoolean()) {
            MeshTotals all = MeshTotals.of(registry.view());
            text.family(
                    "modelmesh_models_managed_total", "gauge", "Models registered; the leader's")
                .sample("modelmesh_models_managed_total", all.managed());
            text.family("modelmesh_models_loaded_total", "gauge", "Of them loaded; the leader's")
                .sample("modelmesh_models_loaded_total", all.loaded());
            text.family(
                    "modelmesh_models_with_failure_total",
                    "gauge",
                    "Of them, those whose last load failed somewhere; the leader's")
                .sample("modelmesh_models_with_failure_total", all.failing());
          }
        });
  }

  /** Whether each call is a line in the log from now on. */
  public void logCalls(boolean each) {
    dispatcher.logsCalls = each;
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

  /** Models that calls wait for in this pod. */
  int modelsWaitedFor() {
    return dispatcher.parked.models();
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

  Pages pages() {
    return pages;
  }

  Compute compute() {
    return dispatcher.compute;
  }

  /** Inferences that wait for a compute thread. */
  int queuedInferences() {
    return dispatcher.compute.waiting();
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
      dispatcher.streams.leave();
      // Longer than there is time: what is refused in the end is still to be told.
      router.shutdown(leftMs(deadlineNs) + TimeUnit.NANOSECONDS.toMillis(LAST_WORDS_NS));
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
    // What waits for a turn hears of it while there are event loops to tell it; what runs does not:
    // its connection breaks, and whoever sent it here may run it elsewhere.
    dispatcher.compute.refuse();
    router.close();
    own.shutdownNow();
    watching.close();
    rest.close();
    dispatcher.close();
    host.close(leftMs);
    pages.drained();
    pages.close();
    waiting.shutdownNow();
  }

  private static long leftMs(long deadlineNs) {
    return Math.max(0, TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime()));
  }
}
