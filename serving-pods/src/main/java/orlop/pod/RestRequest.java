package orlop.pod;

import io.grpc.Deadline;
import io.netty.handler.codec.http.HttpHeaders;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * One HTTP request, received whole. Filled by its connection's event loop, then handled by one
 * virtual thread; the caller's going is told by the event loop at any time.
 */
final class RestRequest {
  final String method;

  /** As it was sent, percent signs and all, without a query. */
  final String rawPath;

  /** Looked up regardless of case. */
  final HttpHeaders headers;

  private final RestServer server;
  private final long startNs = System.nanoTime();
  private byte @Nullable [] body;

  /** What of it counts against the server's bytes. The handling thread's. */
  private long heldBytes;

  private final Object lock = new Object();
  private boolean gone;
  private @Nullable Runnable whenGone;

  /**
   * @param server counts the body's bytes
   * @param heldBytes that are counted for it already
   */
  RestRequest(
      String method,
      String uri,
      HttpHeaders headers,
      byte[] body,
      RestServer server,
      long heldBytes) {
    this.method = method;
    int query = uri.indexOf('?');
    this.rawPath = query < 0 ? uri : uri.substring(0, query);
    this.headers = headers;
    this.body = body;
    this.server = server;
    this.heldBytes = heldBytes;
  }

  @Nullable String header(String name) {
    return headers.get(name);
  }

  /** The bytes as they were sent, once: the request keeps them no longer. */
  byte[] takeBody() {
    byte[] taken = body;
    body = null;
    return taken == null ? new byte[0] : taken;
  }

  /**
   * What {@link #takeBody} gave has become so much larger; until {@link #freeBody}.
   *
   * @throws RestError when the server has no room for that
   */
  void grown(long bytes) throws RestError {
    if (!server.hold(bytes)) {
      throw server.full();
    }
    heldBytes += bytes;
  }

  /** The handler has no more use for what {@link #takeBody} gave. Idempotent. */
  void freeBody() {
    body = null;
    server.release(heldBytes);
    heldBytes = 0;
  }

  /** Of all that is done for it, which takes no longer than that together. */
  Deadline deadline(long mostMs) {
    long tookNs = System.nanoTime() - startNs;
    return Deadline.after(TimeUnit.MILLISECONDS.toNanos(mostMs) - tookNs, TimeUnit.NANOSECONDS);
  }

  /**
   * Runs the action when the caller hangs up before it was answered, or now if it has. It takes the
   * place of the one before: calls follow one another, and one that has ended is let go.
   */
  void whenGone(Runnable action) {
    synchronized (lock) {
      if (!gone) {
        whenGone = action;
        return;
      }
    }
    action.run();
  }

  /** The caller has hung up. */
  void leave() {
    Runnable told;
    synchronized (lock) {
      gone = true;
      told = whenGone;
      whenGone = null;
    }
    if (told != null) {
      told.run();
    }
  }
}
