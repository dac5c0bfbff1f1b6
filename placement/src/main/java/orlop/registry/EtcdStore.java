package orlop.registry;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.ClientBuilder;
import io.etcd.jetcd.common.exception.ClosedClientException;
import io.etcd.jetcd.common.exception.CompactedException;
import io.etcd.jetcd.common.exception.ErrorCode;
import io.etcd.jetcd.common.exception.EtcdException;
import io.etcd.jetcd.common.exception.EtcdExceptionFactory;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.MethodDescriptor;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/**
 * One etcd client in which every call ends in time: unary calls and keep-alives carry a deadline,
 * writes in flight are bounded, failures say what was tried, where and what to do. Thread-safe.
 */
final class EtcdStore implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(EtcdStore.class.getName());

  /*
   * Calls wait for a connection (waitForReady), so a short restart of etcd delays a write instead
   * of failing it. The client library has no deadline for that; an interceptor adds one, and
   * cancels for real, so that calls do not pile up behind a dead connection. Automatic retries are
   * off: whoever calls knows whether a write may be repeated.
   */
  private static final long FAREWELL_MS = 2_000;
  private static final long ABSENT_MS = 300;
  private static final int MAX_REASON_CHARS = 500;
  private static final int MAX_INBOUND_BYTES = 256 << 20;
  private static final String KEEP_ALIVE = "etcdserverpb.Lease/LeaseKeepAlive";

  private final RegistryConfig config;
  private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
  private volatile Client client;
  // Of the client; written together with it.
  private volatile @Nullable EtcdTls inUse;
  private final Semaphore writes;
  private volatile boolean closed;
  private volatile boolean answers = true;

  /**
   * @throws RegistryException when the certificates cannot be read
   */
  EtcdStore(RegistryConfig config) throws RegistryException {
    this.config = config;
    writes = new Semaphore(config.maxInFlightWrites(), true);
    inUse = tls();
    client = newClient(inUse);
  }

  /** The certificates as they are now; null where endpoints are not {@code https}. */
  private @Nullable EtcdTls tls() throws RegistryException {
    return config.secure() ? EtcdTls.read(config.tls()) : null;
  }

  private Client newClient(@Nullable EtcdTls tls) {
    ClientBuilder builder =
        Client.builder()
            .endpoints(config.endpoints().toArray(String[]::new))
            .executorService(executor)
            .waitForReady(true)
            .retryMaxAttempts(0)
            .maxInboundMessageSize(MAX_INBOUND_BYTES)
            .connectTimeout(Duration.ofSeconds(2))
            .keepaliveTime(Duration.ofSeconds(6))
            .keepaliveTimeout(Duration.ofSeconds(4))
            .keepaliveWithoutCalls(true)
            .interceptor(new Deadlines(config.timeoutMs()));
    if (config.user() != null && config.password() != null) {
      builder.user(bytes(config.user())).password(bytes(config.password()));
    }
    if (tls != null) {
      builder.sslContext(tls.context());
      if (!config.tls().serverName().isEmpty()) {
        builder.authority(config.tls().serverName());
      }
    }
    return builder.build();
  }

  /**
   * Drops the connection and makes a new one at once, with the certificates as they are now. After
   * an outage the old one would wait up to two minutes before it tries again, longer than leases
   * live.
   */
  void reconnect() {
    Client old = client;
    synchronized (this) {
      if (closed) {
        return;
      }
      try {
        EtcdTls now = tls();
        client = newClient(now);
        inUse = now;
      } catch (RegistryException e) {
        LOG.log(Level.WARNING, "the connection to etcd stays as it was: {0}", e.getMessage());
        return;
      }
    }
    old.close();
  }

  /**
   * Whether the files hold other certificates than those of the connection, which it may not come
   * back with.
   */
  boolean renewed() {
    EtcdTls its = inUse;
    try {
      EtcdTls now = tls();
      return its != null && now != null && !now.certificates().equals(its.certificates());
    } catch (RegistryException e) {
      return false;
    }
  }

  /** Notes whether etcd answered when it was last asked. */
  void answers(boolean now) {
    answers = now;
  }

  /**
   * How long somebody who leaves waits for etcd to hear of it: what is not told is found out when
   * the lease ends, so not as long as a call may take.
   */
  long farewellMs() {
    return Math.min(config.timeoutMs(), answers ? FAREWELL_MS : ABSENT_MS);
  }

  static ByteSequence bytes(String text) {
    return ByteSequence.from(text, StandardCharsets.UTF_8);
  }

  Client client() {
    return client;
  }

  RegistryConfig config() {
    return config;
  }

  /** Waits until an endpoint takes connections, at most {@code timeoutMs}. */
  void awaitReachable() throws RegistryException {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(config.timeoutMs());
    while (true) {
      IOException last = knock();
      if (last == null) {
        return;
      }
      if (System.nanoTime() > deadline - TimeUnit.MILLISECONDS.toNanos(100)) {
        throw last instanceof SSLException
            ? new RegistryException(noTls(last), last)
            : new RegistryException(
                "no etcd at " + config.endpoints() + ": " + reason(last) + "; " + remedy(), last);
      }
      pause(100);
    }
  }

  /**
   * Tries for at most about a second, by TLS three, whether an endpoint takes connections and, by
   * TLS, whether it and this process trust one another; null when one does.
   */
  @Nullable IOException knock() {
    int eachMs = (int) Math.max(1, Math.min(1_000, config.timeoutMs()) / config.endpoints().size());
    IOException last = null;
    for (String endpoint : config.endpoints()) {
      URI uri = RegistryConfig.uri(endpoint);
      try (Socket socket = new Socket()) {
        socket.connect(new InetSocketAddress(uri.getHost(), uri.getPort()), eachMs);
        EtcdTls tls = tls();
        if (tls != null) {
          tls.greet(socket, uri.getHost(), uri.getPort(), eachMs);
        }
        return null;
      } catch (RegistryException e) {
        return new IOException(e.getMessage(), e);
      } catch (IOException e) {
        last = e;
      }
    }
    return last;
  }

  /** What to tell when etcd and this process do not trust one another. */
  String noTls(IOException why) {
    return "no TLS with etcd at %s: %s; check %s"
        .formatted(config.endpoints(), reason(why), config.tls());
  }

  private static String remedy() {
    return "start etcd there (Debian package etcd-server) or correct the registry endpoints";
  }

  /** Sleeps; an interrupt ends it early and stays set. */
  static void pause(long ms) {
    try {
      TimeUnit.MILLISECONDS.sleep(ms);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Reads; waits at most {@code timeoutMs} for the answer. */
  <T> T read(String what, Function<Client, CompletableFuture<T>> call) throws RegistryException {
    return finish(what, call, config.timeoutMs(), "");
  }

  /** Reads with a shorter deadline of its own. */
  <T> T read(String what, long timeoutMs, Function<Client, CompletableFuture<T>> call)
      throws RegistryException {
    return finish(what, call, timeoutMs, "");
  }

  /** Writes, once one of the places in flight is free; both take at most {@code timeoutMs}. */
  <T> T write(String what, Function<Client, CompletableFuture<T>> call) throws RegistryException {
    long start = System.nanoTime();
    try {
      if (!writes.tryAcquire(config.timeoutMs(), TimeUnit.MILLISECONDS)) {
        throw new RegistryException(
            "etcd at %s: cannot %s: %d writes wait for an answer since %d ms; nothing was written"
                .formatted(
                    config.endpoints(), what, config.maxInFlightWrites(), config.timeoutMs()),
            null);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new RegistryException("interrupted while waiting to " + what, e);
    }
    try {
      long spentMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
      return finish(
          what,
          call,
          Math.max(1, config.timeoutMs() - spentMs),
          "; it may or may not have been carried out");
    } finally {
      writes.release();
    }
  }

  /**
   * Starts a write when one of the places in flight is free. The result completes in any case,
   * within {@code timeoutMs} of its start.
   */
  <T> CompletableFuture<T> startWrite(Function<Client, CompletableFuture<T>> call)
      throws InterruptedException {
    writes.acquire();
    CompletableFuture<T> started;
    try {
      started = call.apply(client).orTimeout(config.timeoutMs() + 1_000, TimeUnit.MILLISECONDS);
    } catch (RuntimeException e) {
      started = CompletableFuture.failedFuture(e);
    }
    return started.whenComplete((result, error) -> writes.release());
  }

  int writesInFlight() {
    return config.maxInFlightWrites() - writes.availablePermits();
  }

  private <T> T finish(
      String what, Function<Client, CompletableFuture<T>> call, long timeoutMs, String doubt)
      throws RegistryException {
    if (closed) {
      throw new RegistryException("cannot " + what + ": the registry is closed", null);
    }
    CompletableFuture<T> answer = null;
    try {
      answer = call.apply(client);
      return answer.get(timeoutMs, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new RegistryException("interrupted: cannot " + what + doubt, e);
    } catch (TimeoutException e) {
      answer.cancel(true);
      throw late(what, timeoutMs, doubt, e);
    } catch (ExecutionException | RuntimeException e) {
      EtcdException cause = etcd(e);
      if (closed) {
        throw new RegistryException("cannot " + what + ": the registry is closed", cause);
      }
      if (cause.getErrorCode() == ErrorCode.DEADLINE_EXCEEDED) {
        throw late(what, timeoutMs, doubt, cause);
      }
      throw new RegistryException(
          "etcd at %s: cannot %s: %s%s".formatted(config.endpoints(), what, reason(cause), doubt),
          cause);
    }
  }

  private RegistryException late(String what, long timeoutMs, String doubt, Throwable cause) {
    return new RegistryException(
        "etcd at %s did not answer within %d ms: cannot %s%s; check that it runs, or %s"
            .formatted(config.endpoints(), timeoutMs, what, doubt, remedy()),
        cause);
  }

  static EtcdException etcd(Throwable error) {
    Throwable cause = error;
    while ((cause instanceof ExecutionException || cause instanceof CompletionException)
        && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return EtcdExceptionFactory.toEtcdException(cause);
  }

  static boolean isCompacted(@Nullable Throwable error) {
    return error != null
        && (etcd(error) instanceof CompactedException
            || String.valueOf(etcd(error).getMessage()).contains("has been compacted"));
  }

  static boolean isLeaseGone(@Nullable Throwable error) {
    return error != null
        && String.valueOf(etcd(error).getMessage()).contains("requested lease not found");
  }

  /** Whether the request itself is at fault, so that others may well succeed. */
  static boolean isRefused(Throwable error) {
    EtcdException e = etcd(error);
    return e.getErrorCode() == ErrorCode.INVALID_ARGUMENT || isTooLarge(e);
  }

  /** Whether a message was larger than one side takes. */
  static boolean isTooLarge(@Nullable Throwable error) {
    if (error == null) {
      return false;
    }
    EtcdException e = etcd(error);
    String message = String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT);
    return e.getErrorCode() == ErrorCode.RESOURCE_EXHAUSTED
        && (message.contains("larger than max") || message.contains("exceeds maximum size"));
  }

  static String reason(@Nullable Throwable error) {
    if (error == null) {
      return "no answer";
    }
    if (error instanceof ClosedClientException) {
      return "the client is closed";
    }
    String message = error.getMessage();
    if (message == null || message.isBlank()) {
      return error.getClass().getSimpleName();
    }
    // The transport writes whole stack traces into its messages.
    String first = message.strip().lines().findFirst().orElse("").stripTrailing();
    return first.length() <= MAX_REASON_CHARS ? first : first.substring(0, MAX_REASON_CHARS) + "…";
  }

  @Override
  public void close() {
    synchronized (this) {
      closed = true;
    }
    client.close();
    executor.shutdownNow();
  }

  /** Gives each unary call and each single keep-alive a deadline; watches have none. */
  private record Deadlines(long timeoutMs) implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
        MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      boolean bounded =
          method.getType() == MethodDescriptor.MethodType.UNARY
              || method.getFullMethodName().equals(KEEP_ALIVE);
      return next.newCall(
          method, bounded ? options.withDeadlineAfter(timeoutMs, TimeUnit.MILLISECONDS) : options);
    }
  }
}
