package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2Stream;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * One stream of a client, from its headers to the last byte of the answer: frames go to a {@link
 * Leg} and back as they come. Owned by the client connection's event loop.
 *
 * <p>A call that needs a model has a {@link Call} that says where it goes. All others go to the
 * pod's own server.
 */
final class Passage implements Caller, Leg.Sink {
  /** A time-out is passed on as it came unless more of it than this is over. */
  private static final long TIMEOUT_SLACK_NS = 1_000_000;

  private final Dispatcher pod;
  private final Link client;
  private final Http2Stream stream;
  private final Http2Headers headers;
  private final Outlet.Target own;
  private final Request request;
  private final MessageMeter meter;
  private final @Nullable Call call;
  private @Nullable Fan fan;
  private final Naming naming;
  private boolean named;
  private boolean wholeNeeded;
  private @Nullable Leg leg;
  private Caller.@Nullable Hop hop;
  private @Nullable Renames renames;
  private @Nullable Capture capture;
  private boolean answering;
  private long requestBytes;
  private long answerBytes;
  private boolean over;

  /**
   * @param op null for a call that needs no model
   * @param own answers what needs no model
   */
  Passage(
      Dispatcher pod,
      Link client,
      Http2Stream stream,
      Http2Headers headers,
      @Nullable Op op,
      Outlet.Target own) {
    this.pod = pod;
    this.own = own;
    this.client = client;
    this.stream = stream;
    this.headers = headers;
    this.request = new Request(pod, client.context().alloc());
    this.naming = new Naming(request);
    this.meter = new MessageMeter(pod.config.maxMessageBytes());
    if (op == null) {
      call = null;
      return;
    }
    CharSequence timeout = headers.get(Wire.TIMEOUT);
    long left = timeout == null ? -1 : Wire.timeoutNs(timeout);
    if (left < 0) {
      left = TimeUnit.MILLISECONDS.toNanos(pod.config.maxWaitMs());
    }
    long due = System.nanoTime() + left;
    call = new Call(pod, client.loop, op, RequestHeaders.of(headers), due, this);
  }

  /** Whether the call goes on; a call for several models waits for its whole message. */
  private boolean fanned(Call to) {
    if (!to.namedByHeaders()) {
      return true;
    }
    try {
      fan = Fan.of(to, headers);
      named = fan != null;
      return true;
    } catch (IllegalArgumentException e) {
      refuse(Status.INVALID_ARGUMENT.withDescription(e.getMessage()));
      return false;
    }
  }

  /** The headers have come. */
  void begin(boolean end) {
    Call to = call;
    if (end) {
      request.end();
    }
    if (to == null) {
      leg = client.loop.outlet(own).begin(headers, end, this);
      return;
    }
    if (!to.enter() || !fanned(to)) {
      return;
    }
    if (end && (to.op.unary || !to.namedByHeaders())) {
      refuse(Request.EMPTY);
    } else if (fan != null) {
      wholeNeeded = true;
    } else if (!to.op.unary && to.namedByHeaders()) {
      name(to, "");
    }
  }

  // ---- the request

  /** The next part of the request, which stays the connection's. */
  void data(ByteBuf data, int padding, boolean end) {
    int bytes = data.readableBytes() + padding;
    if (over) {
      client.credit(stream, bytes);
      return;
    }
    Call to = call;
    requestBytes += data.readableBytes();
    boolean small = meter.read(data);
    if (end) {
      request.end();
    }
    Leg on = leg;
    if (to != null && (to.op.unary || fan != null) && meter.messages() > 1) {
      client.credit(stream, bytes);
      refuse(
          Status.INVALID_ARGUMENT.withDescription(
              "the call carries more than one request message"));
    } else if (!small) {
      client.credit(stream, bytes);
      refuse(
          Status.RESOURCE_EXHAUSTED.withDescription(
              "a message of %d bytes is larger than maxMessageBytes, which is %d"
                  .formatted(meter.lastLength(), pod.config.maxMessageBytes())));
    } else if (on != null) {
      ByteBuf part = data.retain();
      if (call != null && !answering) {
        request.remember(part);
      }
      send(on, part, end, bytes);
    } else {
      hold(data, bytes);
    }
  }

  /**
   * Sends a part on, which this takes over.
   *
   * @param credit bytes that the sender is to be credited
   */
  private void send(Leg on, ByteBuf part, boolean end, int credit) {
    if (capture != null) {
      capture.request(part);
    }
    Renames by = renames;
    ByteBuf named = part;
    if (by != null) {
      try {
        named = by.request(part, end);
      } catch (Compression.Unreadable e) {
        client.credit(stream, credit);
        refuse(e);
        return;
      }
    }
    if (named != null) {
      on.data(named, end, credit == 0 ? null : () -> client.credit(stream, credit));
      return;
    }
    // It is kept back however large it is, so its sender must be let go on.
    client.credit(stream, credit);
    if (pod.heldBytes() > pod.config.maxInFlightBytes()) {
      known().holdsTooMuch();
    }
  }

  /** What was done for the last place is not for the next. */
  private void endRenames() {
    Renames by = renames;
    Capture log = capture;
    renames = null;
    capture = null;
    if (by != null) {
      by.close();
    }
    if (log != null) {
      log.drop();
    }
  }

  private void hold(ByteBuf data, int bytes) {
    Call to = call;
    boolean room = request.hold(data.retain(), bytes);
    if (to == null) {
      return;
    }
    if ((to.op.unary || fan != null) && request.ended() && !meter.complete()) {
      refuse(Status.INVALID_ARGUMENT.withDescription("the request message is cut off"));
      return;
    }
    if (!named) {
      tryName(to);
    } else if (request.ended() && wholeNeeded) {
      whole(to);
    }
    if (over || leg != null) {
      return;
    }
    if (request.held() != null && !room) {
      to.holdsTooMuch();
      return;
    }
    if (wholeNeeded) {
      client.credit(stream, request.takeCredit());
    } else if (named) {
      request.settle();
    }
  }

  private void whole(Call to) {
    Fan several = fan;
    ByteBuf message = several == null ? null : message();
    if (several == null) {
      to.whole();
    } else if (message != null) {
      several.begin(message);
    }
  }

  private void tryName(Call to) {
    try {
      String inside = naming.look(to);
      if (inside == null) {
        // It may stand behind more bytes than a window holds.
        client.credit(stream, request.takeCredit());
      } else {
        name(to, inside);
      }
    } catch (Compression.Unreadable e) {
      refuse(e);
    }
  }

  private void name(Call to, String inside) {
    named = true;
    to.begin(inside);
  }

  private void refuse(Status status) {
    Call to = call;
    cancelLeg();
    if (to != null) {
      to.fail(status);
    } else {
      tell(status, false);
    }
  }

  private void refuse(Compression.Unreadable e) {
    if (Overload.is(e.status())) {
      known().overloaded(String.valueOf(e.getMessage()));
    } else {
      refuse(e.status());
    }
  }

  private void cancelLeg() {
    Leg on = leg;
    if (on != null) {
      leg = null;
      on.cancel(Http2Error.CANCEL);
    }
  }

  /** The client has gone, or has given the call up. */
  void abandoned() {
    if (over) {
      return;
    }
    over = true;
    endRenames();
    request.close();
    cancelLeg();
    if (call != null) {
      call.cancel();
    }
    if (fan != null) {
      fan.cancel();
    }
  }

  // ---- for the call

  @Override
  public void passToOwn(Named named) {
    pass(Caller.Hop.toPod(own, named, -1));
  }

  @Override
  public void pass(Caller.Hop to) {
    hop = to;
    Call of = known();
    endRenames();
    if (!to.target().pod() && !to.target().equals(own)) {
      renames = Renames.of(pod, of.op, to, naming.found(), headers.get(Wire.ENCODING));
      capture = Capture.of(pod, of.op, to.named(), of.headers);
    }
    boolean end = request.ended();
    ByteBuf held = request.held();
    Leg on = client.loop.outlet(to.target()).begin(onward(of, to), end && held == null, this);
    leg = on;
    if (held != null) {
      send(on, held, end, request.sent(held));
    }
  }

  /** The headers as the next place is to see them. */
  private Http2Headers onward(Call of, Caller.Hop to) {
    boolean runtime = !to.target().pod() && !to.target().equals(own);
    if (runtime || of.op != Op.STREAM || of.namedByHeaders()) {
      // Else each message of the stream names its own model, and a header would overrule it.
      to.named().writeTo(headers);
    }
    to.writeTo(headers, pod.asciiId);
    long spent = System.nanoTime() - of.startNs();
    if (headers.contains(Wire.TIMEOUT) ? spent > TIMEOUT_SLACK_NS : of.op.unary) {
      headers.set(Wire.TIMEOUT, Wire.timeout(of.leftNs()));
    }
    return headers;
  }

  @Override
  public @Nullable ByteBuf message() {
    if (!request.ended()) {
      wholeNeeded = true;
      client.credit(stream, request.takeCredit());
      return null;
    }
    try {
      return request.message(headers.get(Wire.ENCODING));
    } catch (Compression.Unreadable e) {
      refuse(e);
      return null;
    }
  }

  @Override
  public long requestBytes() {
    return requestBytes;
  }

  @Override
  public long answerBytes() {
    return answerBytes;
  }

  private Call known() {
    Call of = call;
    if (of == null) {
      throw new IllegalStateException("a call without a model is routed");
    }
    return of;
  }

  @Override
  public void answered(ByteBuf framed) {
    if (over) {
      framed.release();
      return;
    }
    int bytes = framed.readableBytes();
    client.headers(stream, Wire.answer(), false);
    pod.hold(bytes);
    client.write(stream, framed, false, () -> pod.release(bytes));
    close(Wire.ok());
  }

  @Override
  public void failed(Status status, boolean refused) {
    if (fan != null) {
      fan.cancel();
    }
    cancelLeg();
    tell(status, refused);
  }

  /** Ends the call towards the client with a status. */
  private void tell(Status status, boolean refused) {
    if (over) {
      return;
    }
    close(answering ? Wire.trailers(status, refused) : Wire.only(status, refused));
  }

  private void close(Http2Headers last) {
    flushRenames();
    endRenames();
    over = true;
    if (call != null && call.tellsLoad(Wire.refused(last))) {
      pod.host.board().tell(last);
    }
    client.credit(stream, request.takeCredit());
    request.close();
    // When the answer is there early, nobody wants the rest of the request.
    client.end(stream, last, !request.ended());
  }

  // ---- from the leg

  @Override
  public void headers(Http2Headers answer) {
    answering = true;
    request.forget();
    if (capture != null) {
      capture.answers(answer.get(Wire.ENCODING));
    }
    client.headers(stream, answer, false);
  }

  @Override
  public void data(ByteBuf data, Link.Credit credit) {
    answerBytes += data.readableBytes();
    Renames by = renames;
    ByteBuf named = by == null ? data : by.answer(data, credit);
    if (named != null) {
      answer(named, by == null ? credit : by.credits());
    }
  }

  private void answer(ByteBuf part, Link.Credit credit) {
    if (capture != null) {
      capture.response(part);
    }
    client.data(stream, part, false, credit);
  }

  /** Passes on what waited for a name that did not come. */
  private void flushRenames() {
    Renames by = renames;
    ByteBuf rest = by == null || over ? null : by.restOfAnswers();
    if (by != null && rest != null) {
      answer(rest, by.credits());
    }
  }

  @Override
  public void trailers(Http2Headers trailers) {
    if (over) {
      return;
    }
    leg = null;
    Call of = call;
    if (of == null) {
      close(trailers);
      return;
    }
    Status status = Wire.status(trailers);
    Caller.Hop there = hop;
    String podId = there != null && there.target().pod() ? there.target().id() : null;
    boolean refused = !answering && podId != null && Wire.refused(trailers);
    // Between pods only: of a runtime it would be a word about nothing.
    trailers.remove(Wire.REFUSED);
    pod.host.board().hear(podId, trailers, pod.clock.nowMs());
    if (refused && request.restore()) {
      of.refusedThere(status);
      return;
    }
    if (!answering
        && podId == null
        && !status.isOk()
        && of.missingBeside(status, request::restore)) {
      return;
    }
    flushRenames();
    if (capture != null) {
      capture.ended(status);
    }
    of.answeredThere(status);
    close(trailers);
  }

  @Override
  public void failed(Status status, boolean unprocessed, Leg from) {
    if (over || from != leg) {
      return;
    }
    leg = null;
    if (call == null) {
      tell(status, false);
    } else if (answering) {
      // Nobody here cancelled it, so to the caller the place has failed.
      Status told =
          status.getCode() == Status.Code.CANCELLED
              ? Status.UNAVAILABLE.withDescription(status.getDescription())
              : status;
      call.answeredThere(told);
      tell(told, false);
    } else {
      call.lostThere(status, unprocessed, request.restore());
    }
  }
}
