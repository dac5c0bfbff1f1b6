package orlop.pod;

import io.grpc.Metadata;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import java.util.Base64;
import java.util.Objects;
import java.util.concurrent.RejectedExecutionException;
import org.jspecify.annotations.Nullable;

/**
 * Makes a unary call for somebody who has the whole message in hand, and collects the whole answer.
 * All but {@link #begin} happens on the call's event loop.
 */
final class Messenger implements Caller, Leg.Sink {
  private static final AsciiString POST = AsciiString.cached("POST");
  private static final AsciiString HTTP = AsciiString.cached("http");
  private static final AsciiString TE = AsciiString.cached("te");
  private static final AsciiString TRAILERS = AsciiString.cached("trailers");

  private final Dispatcher pod;
  private final Op op;
  private final byte[] message;
  private final Metadata headers;
  private final Dispatcher.Reply reply;
  private final Call call;
  private @Nullable Leg leg;
  private Caller.@Nullable Hop hop;
  private @Nullable ByteBuf answer;
  private boolean over;

  Messenger(
      Dispatcher pod,
      Loop loop,
      Op op,
      byte[] message,
      Metadata headers,
      long dueNs,
      Dispatcher.Reply reply) {
    this.pod = pod;
    this.op = op;
    this.message = message;
    this.headers = headers;
    this.reply = reply;
    this.call = new Call(pod, loop, op, RequestHeaders.of(headers), dueNs, this);
  }

  Call call() {
    return call;
  }

  /** From any thread. */
  void begin(String nameInside) {
    try {
      call.loop.executor.execute(
          () -> {
            boolean room = pod.hold(message.length);
            if (!call.enter()) {
              return;
            }
            if (room) {
              call.begin(nameInside);
            } else {
              call.holdsTooMuch();
            }
          });
    } catch (RejectedExecutionException e) {
      reply.ended(
          Status.UNAVAILABLE.withDescription("pod '" + pod.config.id() + "' is shutting down"),
          new Metadata(),
          null);
    }
  }

  @Override
  public void pass(Caller.Hop to) {
    hop = to;
    dropAnswer(); // What the place before gave of one.
    Http2Headers onward = new DefaultHttp2Headers(false, 32);
    onward.method(POST).scheme(HTTP).path(op.path).authority(AsciiString.of(to.target().address()));
    onward.set(Wire.CONTENT_TYPE, Wire.GRPC).set(TE, TRAILERS);
    onward.set(Wire.TIMEOUT, Wire.timeout(call.leftNs()));
    for (String name : headers.keys()) {
      if (!name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
        onward.set(AsciiString.of(name), AsciiString.of(headers.get(Named.ascii(name))));
        continue;
      }
      byte[] value = headers.get(Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER));
      onward.set(
          AsciiString.of(name),
          AsciiString.of(Base64.getEncoder().withoutPadding().encodeToString(value)));
    }
    to.named().writeTo(onward);
    to.writeTo(onward, pod.asciiId);
    ByteBuf request;
    try {
      request = named(Answers.framed(message), to.named().model().id(), to.idPath());
    } catch (Compression.Unreadable e) {
      call.fail(e.status());
      return;
    }
    Leg on = call.loop.outlet(to.target()).begin(onward, false, this);
    leg = on;
    on.data(request, true, null);
  }

  /**
   * Offers what the runtime beside this pod ran to the payload log; other pods do so themselves.
   *
   * @param told the answer as the caller gets it, which stays its own
   */
  private void capture(@Nullable Named beside, ByteBuf told, Status status) {
    Capture log = beside == null ? null : Capture.of(pod, op, beside, RequestHeaders.of(headers));
    if (log != null) {
      ByteBuf asked = Answers.framed(message);
      log.request(asked);
      log.response(told);
      log.ended(status);
      asked.release();
    }
  }

  private static ByteBuf named(ByteBuf request, String id, int[] path)
      throws Compression.Unreadable {
    return path.length == 0
        ? request
        : all(new Rename(id, path, Integer.MAX_VALUE).forRequests(null).next(request));
  }

  /** An answer of the runtime beside this pod, by the name that the caller used. */
  private ByteBuf called(ByteBuf answer, Named named) {
    if (named.alias().isEmpty() || op.answerPath.length == 0) {
      return answer;
    }
    try {
      return all(new Rename(named.asked(), op.answerPath, Integer.MAX_VALUE).next(answer));
    } catch (Compression.Unreadable e) {
      throw new IllegalStateException(e); // Answers are not judged.
    }
  }

  private static ByteBuf all(@Nullable ByteBuf renamed) {
    return Objects.requireNonNull(renamed, "a message that is all there is kept back");
  }

  @Override
  public long requestBytes() {
    return message.length;
  }

  @Override
  public long answerBytes() {
    return answer == null ? 0 : answer.readableBytes();
  }

  @Override
  public void passToOwn(Named named) {
    throw new IllegalStateException(op + " is no stream");
  }

  @Override
  public ByteBuf message() {
    return Unpooled.wrappedBuffer(message);
  }

  @Override
  public void answered(ByteBuf framed) {
    byte[] bytes =
        ByteBufUtil.getBytes(
            framed,
            framed.readerIndex() + Wire.PREFIX_BYTES,
            framed.readableBytes() - Wire.PREFIX_BYTES);
    framed.release();
    end(Status.OK, false, bytes);
  }

  @Override
  public void failed(Status status, boolean refused) {
    end(status, refused, null);
  }

  private void end(Status status, boolean refused, byte @Nullable [] bytes) {
    if (over) {
      return;
    }
    over = true;
    pod.release(message.length);
    Leg on = leg;
    if (on != null) {
      leg = null;
      on.cancel(Http2Error.CANCEL);
    }
    dropAnswer();
    Metadata trailers = new Metadata();
    if (refused) {
      trailers.put(Named.ascii(orlop.api.Headers.REFUSED), Wire.NOT_HERE.toString());
    }
    reply.ended(status, trailers, bytes);
  }

  private void dropAnswer() {
    ByteBuf left = answer;
    answer = null;
    if (left != null) {
      pod.release(left.readableBytes());
      left.release();
    }
  }

  // ---- from the leg

  @Override
  public void headers(Http2Headers received) {}

  @Override
  public void data(ByteBuf data, Link.Credit credit) {
    try {
      ByteBuf all = answer == null ? Unpooled.buffer(data.readableBytes()) : answer;
      answer = all;
      boolean room = pod.hold(data.readableBytes());
      all.writeBytes(data);
      int most = pod.config.maxMessageBytes();
      if (all.readableBytes() > most + Wire.PREFIX_BYTES) {
        call.fail(
            Status.RESOURCE_EXHAUSTED.withDescription(
                "the answer is larger than maxMessageBytes, which is " + most));
      } else if (!room) {
        call.holdsTooMuch();
      }
    } finally {
      data.release();
      credit.give();
    }
  }

  @Override
  public void trailers(Http2Headers trailers) {
    leg = null;
    Status status = Wire.status(trailers);
    Caller.Hop there = hop;
    String podId = there != null && there.target().pod() ? there.target().id() : null;
    if (podId != null) {
      pod.host.board().hear(podId, trailers, pod.clock.nowMs());
    }
    if (podId != null && Wire.refused(trailers)) {
      call.refusedThere(status);
    } else if (podId != null || status.isOk() || !call.missingBeside(status, () -> true)) {
      ran(there == null || podId != null ? null : there.named(), status);
    }
  }

  /**
   * The call was run.
   *
   * @param beside what ran, when that was the runtime beside this pod
   */
  private void ran(@Nullable Named beside, Status status) {
    ByteBuf all = answer;
    if (!status.isOk()) {
      failedThere(beside, status);
    } else if (all == null
        || all.readableBytes() < Wire.PREFIX_BYTES
        || all.getByte(0) != 0
        || all.getInt(1) != all.readableBytes() - Wire.PREFIX_BYTES) {
      failedThere(
          beside, Status.INTERNAL.withDescription("the answer is not one uncompressed message"));
    } else {
      call.answeredThere(status);
      ByteBuf told = beside == null ? all.retain() : called(all.retain(), beside);
      capture(beside, told, status);
      answered(told);
    }
  }

  private void failedThere(@Nullable Named beside, Status status) {
    capture(beside, Unpooled.EMPTY_BUFFER, status);
    call.fail(status);
  }

  @Override
  public void failed(Status status, boolean unprocessed, Leg from) {
    if (from == leg) {
      leg = null;
      call.lostThere(status, unprocessed, true);
    }
  }
}
