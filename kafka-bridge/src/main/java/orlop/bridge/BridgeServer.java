package orlop.bridge;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * One stream at work: reads an input topic, scores its records through a mesh and writes results
 * and dead letters, each exactly once, in input order per partition.
 *
 * <p>One platform thread owns consumer and producer. When they fail in a way that they do not
 * survive (broker away, fenced, a commit of unknown outcome), it starts anew with fresh ones after
 * a back-off of 1 s, doubling up to 30 s; the committed offsets say where. The methods are
 * thread-safe.
 */
public final class BridgeServer implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(BridgeServer.class.getName());
  private static final long FIRST_RESTART_MS = 1_000;
  private static final long MAX_RESTART_MS = 30_000;
  private static final long CLOSE_CLIENTS_MS = 15_000;
  private static final long LONG_SESSION_MS = 15_000;

  private final BridgeConfig config;
  private final StreamConfig stream;
  private final MeshClient mesh;
  private final KafkaClients clients;
  private final Counters counters = new Counters();
  private final CountDownLatch stop = new CountDownLatch(1);
  private final Thread thread;

  private BridgeServer(BridgeConfig config, StreamConfig stream, MeshClient mesh) {
    this.config = config;
    this.stream = stream;
    this.mesh = mesh;
    this.clients = new KafkaClients(config, stream);
    this.thread = Thread.ofPlatform().name("bridge-" + stream.name()).unstarted(this::run);
  }

  /**
   * Starts and returns at once; {@link #status} tells when it runs. A broker or a mesh that is away
   * is waited for.
   *
   * @param mesh stays the caller's to close, after this
   */
  public static BridgeServer start(BridgeConfig config, StreamConfig stream, MeshClient mesh) {
    BridgeServer server = new BridgeServer(config, stream, mesh);
    server.thread.start();
    Thread.ofVirtual().name("bridge-settings").start(server::tellSessionTimeout);
    return server;
  }

  /** The figures as of the last turn, at most some 50 ms ago while it runs. */
  public BridgeStatus status() {
    return counters.published();
  }

  private void run() {
    long backoffMs = FIRST_RESTART_MS;
    try {
      while (stop.getCount() > 0) {
        long commitsBefore = counters.commits;
        try (StreamSession session =
            StreamSession.open(clients, stream, config.instance(), mesh, counters)) {
          session.run(stop, config.drainTimeoutMs());
        } catch (RuntimeException e) {
          backoffMs = counters.commits > commitsBefore ? FIRST_RESTART_MS : backoffMs;
          failed(e, backoffMs);
          stop.await(backoffMs, TimeUnit.MILLISECONDS);
          backoffMs = Math.min(MAX_RESTART_MS, 2 * backoffMs);
        }
      }
    } catch (InterruptedException e) {
      counters.lastError = "interrupted";
      LOG.log(System.Logger.Level.WARNING, "stream {0}: interrupted", stream.name());
    } catch (Error e) {
      counters.lastError = e.toString();
      throw e;
    } finally {
      counters.inFlight = 0;
      counters.publish(BridgeStatus.State.STOPPED);
    }
  }

  private void failed(RuntimeException failure, long backoffMs) {
    Throwable cause = failure.getCause();
    counters.lastError =
        failure.getMessage() + (cause == null ? "" : " (" + cause.getMessage() + ")");
    counters.inFlight = 0;
    counters.partitions = 0;
    counters.lag = -1;
    counters.publish(BridgeStatus.State.DEGRADED);
    LOG.log(
        System.Logger.Level.WARNING,
        "stream {0}: starts anew in {1} ms: {2}",
        stream.name(),
        backoffMs,
        counters.lastError);
  }

  private void tellSessionTimeout() {
    long timeoutMs = clients.sessionTimeoutMs();
    counters.sessionTimeoutMs = timeoutMs;
    LOG.log(
        System.Logger.Level.INFO,
        "stream {0}: group {1}, transactional id {2}, session timeout {3}{4}",
        stream.name(),
        stream.group(),
        clients.transactionalId(),
        timeoutMs < 0 ? "not known" : timeoutMs + " ms",
        timeoutMs > LONG_SESSION_MS
            ? ": a killed bridge's partitions rest that long; lower the group's"
                + " consumer.session.timeout.ms (and the broker's"
                + " group.consumer.min.session.timeout.ms) to about 10000"
            : "");
  }

  /**
   * Stops reading, waits for calls in flight for the configured time, commits their results and
   * leaves the group. Records that got no result are read again by the next owner.
   */
  @Override
  public void close() {
    stop.countDown();
    try {
      if (!thread.join(Duration.ofMillis(config.drainTimeoutMs() + CLOSE_CLIENTS_MS))) {
        thread.interrupt();
        thread.join(CLOSE_CLIENTS_MS);
      }
    } catch (InterruptedException e) {
      thread.interrupt();
      Thread.currentThread().interrupt();
    }
  }
}
