package orlop.pod;

import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;
import orlop.placement.Attempt;
import orlop.placement.Hints;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;
import orlop.placement.Router;

/**
 * The {@link Hints} of this pod, and its own word for others. Thread-safe; an answer that cannot be
 * read tells nothing.
 */
final class HintBoard {
  private static final AsciiString LOAD = AsciiString.cached(Headers.LOAD);
  private static final AsciiString PROMISED = AsciiString.cached(Headers.PROMISED);

  private final String selfPodId;
  private final AtomicReference<Hints> hints = new AtomicReference<>(Hints.NONE);
  private volatile Hints.@Nullable Heard own;

  HintBoard(String selfPodId) {
    this.selfPodId = selfPodId;
  }

  Hints hints() {
    return hints.get();
  }

  /** What this pod has queued by now: for its own routing and for the answers that it gives. */
  void own(Hints.Heard word) {
    own = word;
    hints.updateAndGet(old -> old.heard(selfPodId, word, word.atMs()));
  }

  /**
   * Notes that a load is sent to a pod.
   *
   * @return the wait before it that the call may be promised; negative for none
   */
  long send(Router router, MeshView view, Model model, Pod target, Attempt attempt) {
    Router.Expected expected = router.expect(view, model, target, attempt);
    hints.updateAndGet(
        old ->
            old.sent(target.id(), model.id(), expected.loadMs(), expected.size(), attempt.nowMs()));
    if (attempt.forwarded()) {
      // It is to be loaded here, and this pod's own calls shall join it.
      return -1;
    }
    // Whoever was refused before takes what comes.
    return attempt.tried().isEmpty() ? expected.queueMs() : Long.MAX_VALUE / 4;
  }

  /** The headers of a forwarded call with the promise; a negative one is none. */
  static void promise(Http2Headers forward, long waitMs) {
    forward.remove(PROMISED);
    if (waitMs >= 0) {
      forward.set(PROMISED, AsciiString.of(Long.toString(waitMs)));
    }
  }

  /** Negative when the sender made no promise, or one that cannot be read. */
  static long promisedMs(RequestHeaders headers) {
    String text = headers.get(Headers.PROMISED);
    try {
      return text == null ? -1 : Math.min(Long.MAX_VALUE / 4, Long.parseLong(text));
    } catch (NumberFormatException e) {
      return -1;
    }
  }

  void tell(Http2Headers trailers) {
    Hints.Heard word = own;
    if (word != null) {
      trailers.set(LOAD, AsciiString.of(text(word)));
    }
  }

  /**
   * Takes a pod's word out of the trailers of its answer: it is not for the client.
   *
   * @param podId null for a runtime, which has none
   */
  void hear(@Nullable String podId, Http2Headers trailers, long nowMs) {
    CharSequence said = trailers.getAndRemove(LOAD);
    Hints.Heard word = said == null || podId == null ? null : parse(said.toString());
    if (word != null && podId != null) {
      hints.updateAndGet(old -> old.heard(podId, word, nowMs));
    }
  }

  static String text(Hints.Heard word) {
    return "%d;%d;%d;%d;%d;%b"
        .formatted(
            word.atMs(),
            word.loadsQueued(),
            word.queuedMs(),
            word.used().ramBytes(),
            word.used().vramBytes(),
            word.draining());
  }

  static Hints.@Nullable Heard parse(@Nullable String text) {
    String[] parts = text == null ? new String[0] : text.split(";", -1);
    if (parts.length < 6) {
      return null;
    }
    try {
      return new Hints.Heard(
          Long.parseLong(parts[0]),
          Math.max(0, Integer.parseInt(parts[1])),
          Math.max(0, Long.parseLong(parts[2])),
          new Memory(Long.parseLong(parts[3]), Long.parseLong(parts[4])),
          Boolean.parseBoolean(parts[5]));
    } catch (IllegalArgumentException e) {
      return null;
    }
  }
}
