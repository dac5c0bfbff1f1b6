package orlop.pod;

import io.netty.handler.codec.http.HttpHeaders;
import java.util.ArrayList;
import java.util.List;
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

  private final Runnable bodyFreed;
  private byte @Nullable [] body;
  private boolean gone;
  private final List<Runnable> whenGone = new ArrayList<>(1);

  /**
   * @param bodyFreed told once the body takes no memory any more; idempotent
   */
  RestRequest(String method, String uri, HttpHeaders headers, byte[] body, Runnable bodyFreed) {
    this.method = method;
    int query = uri.indexOf('?');
    this.rawPath = query < 0 ? uri : uri.substring(0, query);
    this.headers = headers;
    this.body = body;
    this.bodyFreed = bodyFreed;
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

  /** The handler has no more use for what {@link #takeBody} gave. Idempotent. */
  void freeBody() {
    body = null;
    bodyFreed.run();
  }

  /** Runs the action when the caller hangs up before it was answered, or now if it has. */
  void whenGone(Runnable action) {
    synchronized (whenGone) {
      if (!gone) {
        whenGone.add(action);
        return;
      }
    }
    action.run();
  }

  /** The caller has hung up. */
  void leave() {
    List<Runnable> told;
    synchronized (whenGone) {
      gone = true;
      told = List.copyOf(whenGone);
      whenGone.clear();
    }
    told.forEach(Runnable::run);
  }
}
