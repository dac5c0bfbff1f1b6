package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import org.jspecify.annotations.Nullable;

/** Whoever made a {@link Call}. All methods run on the call's event loop. */
interface Caller {
  /** Sends the call on; what becomes of it comes back through the methods of {@link Call}. */
  void pass(Hop hop);

  /**
   * Leaves the call, a stream of inferences, to this pod's own server, which sees to its messages
   * one by one.
   */
  void passToOwn(Named named);

  /**
   * The request message, decompressed and to be released, once all of it is there. Before that it
   * is null, and {@link Call#whole} is called when it is not any more.
   */
  @Nullable ByteBuf message();

  /** Bytes of the request that have come so far. */
  long requestBytes();

  /** Bytes of an answer that was passed on. */
  long answerBytes();

  /** The answer: a message behind its gRPC prefix, to be released. */
  void answered(ByteBuf framed);

  /**
   * There is no answer.
   *
   * @param refused whether the one who sent it here may try another pod
   */
  void failed(Status status, boolean refused);

  /**
   * Where a call is sent on to, and as what.
   *
   * @param loadAfterMs wait before the load that is asked for there; negative when none is
   * @param idPath where messages are to carry the model's id there; empty: nowhere
   */
  record Hop(Outlet.Target target, Named named, long loadAfterMs, int[] idPath) {
    private static final int[] NOWHERE = {};

    /** To where messages go as they are: another pod, or this pod's own server. */
    static Hop toPod(Outlet.Target target, Named named, long loadAfterMs) {
      return new Hop(target, named, loadAfterMs, NOWHERE);
    }

    /** Makes the headers say what pods tell each other about a call, and nobody else. */
    void writeTo(Http2Headers headers, AsciiString selfId) {
      if (target.pod()) {
        headers.set(Wire.FORWARDED_BY, selfId);
      } else {
        headers.remove(Wire.FORWARDED_BY);
      }
      HintBoard.promise(headers, target.pod() ? loadAfterMs : -1);
    }
  }
}
