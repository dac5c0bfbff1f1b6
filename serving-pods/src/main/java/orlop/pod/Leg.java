package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2Stream;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * The second half of a call's way: its stream on an {@link Outlet}. Owned by the outlet's event
 * loop. Ends exactly once, by trailers, by a failure, or by {@link #cancel}.
 */
final class Leg {
  /** Where the answer goes. */
  interface Sink {
    /** The headers before an answer. */
    void headers(Http2Headers headers);

    /** A part of the answer, to be released by the sink, who gives the credit when it is taken. */
    void data(ByteBuf data, Link.Credit credit);

    /** The end of the answer. */
    void trailers(Http2Headers trailers);

    /**
     * The answer breaks off.
     *
     * @param unprocessed whether it is certain that the place did nothing with the call
     */
    void failed(Status status, boolean unprocessed, Leg from);
  }

  private record Part(ByteBuf data, boolean end, Link.@Nullable Credit credit) {}

  private final Outlet outlet;
  final Http2Headers headers;
  final Sink sink;
  private boolean headersEnd;

  /** What is to be sent once there is a stream. */
  private final Deque<Part> early = new ArrayDeque<>(2);

  private @Nullable Http2Stream stream;
  private boolean over;
  private boolean answered;

  Leg(Outlet outlet, Http2Headers headers, boolean end, Sink sink) {
    this.outlet = outlet;
    this.headers = headers;
    this.headersEnd = end;
    this.sink = sink;
  }

  boolean headersEnd() {
    return headersEnd;
  }

  /** The next part of the request, which this takes over. */
  void data(ByteBuf data, boolean end, Link.@Nullable Credit credit) {
    Http2Stream to = stream;
    if (over) {
      data.release();
      if (credit != null) {
        credit.give();
      }
    } else if (to == null) {
      early.add(new Part(data, end, credit));
    } else {
      outlet.data(to, data, end, credit);
    }
  }

  /** Nobody waits for the answer any more. */
  void cancel(Http2Error error) {
    if (over) {
      return;
    }
    over = true;
    drop();
    Http2Stream open = stream;
    if (open == null) {
      outlet.forget(this);
    } else {
      outlet.reset(open, error);
    }
  }

  // ---- for the outlet

  boolean over() {
    return over;
  }

  void opened(Http2Stream on) {
    stream = on;
    for (Part part = early.poll(); part != null; part = early.poll()) {
      outlet.data(on, part.data, part.end, part.credit);
    }
  }

  void received(Http2Headers received, boolean end) {
    if (over) {
      return;
    }
    if (!end) {
      CharSequence status = received.status();
      if (status != null && status.length() == 3 && status.charAt(0) == '1') {
        return;
      }
      if (answered) {
        breakOff("trailers that do not end the stream");
        return;
      }
      answered = true;
      sink.headers(received);
      return;
    }
    over = true;
    drop();
    Http2Stream open = stream;
    sink.trailers(received);
    if (open != null && open.state() == Http2Stream.State.OPEN) {
      // It has answered before it was told everything, and will not be sent the rest.
      outlet.reset(open, Http2Error.CANCEL);
    }
  }

  void received(ByteBuf data, boolean end, Link.Credit credit) {
    if (over) {
      data.release();
      credit.give();
      return;
    }
    if (!answered) {
      data.release();
      credit.give();
      breakOff("data before headers");
      return;
    }
    if (data.isReadable()) {
      sink.data(data, credit);
    } else {
      data.release();
      credit.give();
    }
    if (end && !over) {
      failed(Status.INTERNAL.withDescription("the answer ended without trailers"), false);
    }
  }

  private void breakOff(String what) {
    Http2Stream open = stream;
    failed(Status.INTERNAL.withDescription("the answer holds " + what), false);
    if (open != null) {
      outlet.reset(open, Http2Error.PROTOCOL_ERROR);
    }
  }

  void failed(Status status, boolean unprocessed) {
    if (!over) {
      over = true;
      drop();
      sink.failed(status, unprocessed, this);
    }
  }

  private void drop() {
    for (Part part = early.poll(); part != null; part = early.poll()) {
      part.data.release();
      if (part.credit != null) {
        part.credit.give();
      }
    }
  }
}
