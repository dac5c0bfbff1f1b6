package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The names in the messages of one call to the runtime beside the pod, which knows its models by
 * their ids alone: the id goes into requests, and what the caller asked for into answers. Owned by
 * the call's event loop.
 */
final class Renames {
  private final Dispatcher pod;
  private final @Nullable Rename requests;
  private @Nullable Rename answers;
  private final boolean oneAnswer;
  private final List<Link.Credit> uncredited = new ArrayList<>(1);
  private int keptBytes;

  private Renames(
      Dispatcher pod, @Nullable Rename requests, @Nullable Rename answers, boolean oneAnswer) {
    this.pod = pod;
    this.requests = requests;
    this.answers = answers;
    this.oneAnswer = oneAnswer;
  }

  /**
   * Null when all may pass as it is.
   *
   * @param said the name that the first request is known to carry, where and when it is known
   * @param encoding of compressed requests
   */
  static @Nullable Renames of(
      Dispatcher pod,
      Op op,
      Caller.Hop to,
      @Nullable NamePeek said,
      @Nullable CharSequence encoding) {
    if (to.target().pod()) {
      return null;
    }
    String id = to.named().model().id();
    int[] path = to.idPath();
    boolean right =
        op.unary && said != null && Arrays.equals(said.path(), path) && said.saysOnly(id);
    Rename requests =
        path.length == 0 || right
            ? null
            : new Rename(id, path, pod.config.maxMessageBytes())
                .forRequests(encoding)
                .countedBy(pod);
    if (requests != null && op == Op.STREAM && said != null && !said.name().isEmpty()) {
      // Where headers name the model they hold for all of the stream.
      requests.only(new HashSet<>(List.of(id, said.name(), to.named().asked())));
    }
    Rename answers =
        to.named().alias().isEmpty() || op.answerPath.length == 0
            ? null
            : new Rename(to.named().asked(), op.answerPath, Rename.MAX_ANSWER_HEAD_BYTES);
    return requests == null && answers == null
        ? null
        : new Renames(pod, requests, answers, op.unary);
  }

  /**
   * Takes a part of the requests over.
   *
   * @param last whether no further part comes
   * @return what can be sent; null when the part is kept back
   */
  @Nullable ByteBuf request(ByteBuf part, boolean last) throws Compression.Unreadable {
    Rename by = requests;
    if (by == null) {
      return part;
    }
    ByteBuf named = by.next(part);
    keep(by.keptBytes());
    if (!last) {
      return named;
    }
    if (by.cutOff()) {
      if (named != null) {
        named.release();
      }
      throw new Compression.Unreadable(
          Status.INVALID_ARGUMENT.withDescription("the request message is cut off"));
    }
    return named == null ? Unpooled.EMPTY_BUFFER : named;
  }

  /**
   * Takes a part of the answers over.
   *
   * @return what can be passed on, see {@link #credits}; null when the part is kept back
   */
  @Nullable ByteBuf answer(ByteBuf part, Link.Credit credit) {
    uncredited.add(credit);
    Rename by = answers;
    if (by == null) {
      return part;
    }
    try {
      ByteBuf named = by.next(part);
      if (named != null && oneAnswer) {
        answers = null;
      }
      return named;
    } catch (Compression.Unreadable e) {
      throw new IllegalStateException(e); // Answers are not judged.
    }
  }

  /** What of the answers was kept back to the end; null when nothing was. */
  @Nullable ByteBuf restOfAnswers() {
    return answers == null ? null : answers.rest();
  }

  /** The credit for all of the answers that has been passed on. */
  Link.Credit credits() {
    if (uncredited.size() == 1) {
      return uncredited.removeFirst();
    }
    List<Link.Credit> all = List.copyOf(uncredited);
    uncredited.clear();
    return () -> all.forEach(Link.Credit::give);
  }

  private void keep(int bytes) {
    if (bytes > keptBytes) {
      var unused = pod.hold(bytes - keptBytes);
    } else {
      pod.release(keptBytes - bytes);
    }
    keptBytes = bytes;
  }

  /** Lets go of what was kept back. Idempotent. */
  void close() {
    keep(0);
    for (ByteBuf rest :
        new ByteBuf[] {requests == null ? null : requests.rest(), restOfAnswers()}) {
      if (rest != null) {
        rest.release();
      }
    }
  }
}
