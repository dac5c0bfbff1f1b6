package orlop.pod;

import io.grpc.Metadata;
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
  private static final Metadata.Key<String> LOAD = Named.ascii(Headers.LOAD);
  private static final Metadata.Key<String> PROMISED = Named.ascii(Headers.PROMISED);

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
  static Metadata promise(Metadata forward, long waitMs) {
    forward.discardAll(PROMISED);
    if (waitMs >= 0) {
      forward.put(PROMISED, Long.toString(waitMs));
    }
    return forward;
  }

  /** Negative when the sender made no promise, or one that cannot be read. */
  static long promisedMs(Metadata headers) {
    String text = headers.get(PROMISED);
    try {
      return text == null ? -1 : Math.min(Long.MAX_VALUE / 4, Long.parseLong(text));
    } catch (NumberFormatException e) {
      return -1;
    }
  }

  void tell(Metadata trailers) {
    Hints.Heard word = own;
    if (word != null) {
      trailers.put(LOAD, text(word));
    }
  }

  void hear(String podId, Metadata trailers, long nowMs) {
    Hints.Heard word = parse(trailers.get(LOAD));
    if (word != null) {
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
