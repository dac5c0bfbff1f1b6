package orlop.pod;

import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.http2.Http2CodecUtil;
import io.netty.handler.codec.http2.Http2Connection;
import io.netty.handler.codec.http2.Http2ConnectionAdapter;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2RemoteFlowController;
import io.netty.handler.codec.http2.Http2Stream;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * What the peer of one connection lets this side send. Data for which there is room goes out at
 * once ({@link #take}); the rest waits in a line for each stream, and the streams take turns, a
 * frame each. Owned by the connection's event loop.
 *
 * <p>Source: RFC 9113, section 5.2.
 */
final class Windows implements Http2RemoteFlowController {
  /** What a stream may send before it is the next one's turn: a frame, of up to so many bytes. */
  private static final int MAX_TURN_BYTES = 64 << 10;

  /**
   * What goes out at once, however wide the windows are: half of what a peer may leave unread, so
   * that nobody who only reads slowly is taken for one who does not.
   */
  private static final int MAX_AT_ONCE_BYTES = Outbox.MAX_UNREAD_BYTES / 2;

  private final Http2Connection connection;
  private final Http2Connection.PropertyKey key;
  private final Outbox outbox;

  /** Streams that have something to send and, by their own window, may. */
  private final Deque<Line> ready = new ArrayDeque<>();

  private @Nullable ChannelHandlerContext ctx;
  private int initialWindowBytes = Http2CodecUtil.DEFAULT_WINDOW_SIZE;
  private int connectionWindowBytes = Http2CodecUtil.DEFAULT_WINDOW_SIZE;
  private long waitingBytes;
  private boolean writing;

  /** One stream's window and what waits for it. */
  private static final class Line {
    final Http2Stream stream;
    final Deque<FlowControlled> frames = new ArrayDeque<>(0);
    int windowBytes;
    long waitingBytes;
    boolean isReady;
    boolean writing;
    boolean over;

    Line(Http2Stream stream, int windowBytes) {
      this.stream = stream;
      this.windowBytes = windowBytes;
    }
  }

  Windows(Http2Connection connection, Outbox outbox) {
    this.connection = connection;
    this.outbox = outbox;
    key = connection.newKey();
    connection.addListener(
        new Http2ConnectionAdapter() {
          @Override
          public void onStreamAdded(Http2Stream stream) {
            stream.setProperty(key, new Line(stream, initialWindowBytes));
          }

          @Override
          public void onStreamActive(Http2Stream stream) {
            line(stream).windowBytes = initialWindowBytes;
          }

          @Override
          public void onStreamHalfClosed(Http2Stream stream) {
            if (stream.state() == Http2Stream.State.HALF_CLOSED_LOCAL) {
              end(line(stream), null);
            }
          }

          @Override
          public void onStreamClosed(Http2Stream stream) {
            end(line(stream), null);
          }
        });
  }

  private Line line(Http2Stream stream) {
    Line line = stream.getProperty(key);
    if (line == null) {
      throw new IllegalStateException("stream " + stream.id() + " is unknown");
    }
    return line;
  }

  /**
   * Takes room for data that the caller then writes by itself at once.
   *
   * @return false when it has to wait in line, and nothing was taken
   */
  boolean take(Http2Stream stream, int bytes) {
    Line line = line(stream);
    if (line.over
        || !line.frames.isEmpty()
        || bytes > MAX_AT_ONCE_BYTES
        || bytes > Math.min(line.windowBytes, connectionWindowBytes)
        || !channelTakes()) {
      return false;
    }
    line.windowBytes -= bytes;
    connectionWindowBytes -= bytes;
    return true;
  }

  private boolean channelTakes() {
    ChannelHandlerContext known = ctx;
    return known != null && known.channel().isWritable();
  }

  @Override
  public boolean isWritable(Http2Stream stream) {
    Line line = line(stream);
    return !line.over
        && line.windowBytes > line.waitingBytes
        && connectionWindowBytes > waitingBytes
        && channelTakes();
  }

  @Override
  public void addFlowControlled(Http2Stream stream, FlowControlled frame) {
    Line line = line(stream);
    FlowControlled last = line.frames.peekLast();
    int before = last == null ? 0 : last.size();
    if (last == null || !last.merge(ctx, frame)) {
      line.frames.add(frame);
      count(line, frame.size());
    } else {
      count(line, last.size() - before);
    }
    makeReady(line);
  }

  private void count(Line line, int bytes) {
    line.waitingBytes += bytes;
    waitingBytes += bytes;
  }

  private void makeReady(Line line) {
    if (!line.isReady && !line.frames.isEmpty()) {
      line.isReady = true;
      ready.add(line);
    }
  }

  @Override
  public boolean hasFlowControlled(Http2Stream stream) {
    return !line(stream).frames.isEmpty();
  }

  /** Sends what may be sent, and hands all that was gathered to the channel. */
  @Override
  public void writePendingBytes() {
    ChannelHandlerContext to = ctx;
    if (writing || to == null) {
      return;
    }
    writing = true;
    try {
      while (!ready.isEmpty() && connectionWindowBytes > 0 && to.channel().isWritable()) {
        Line line = ready.remove();
        line.isReady = false;
        if (turn(line, to)) {
          makeReady(line);
        }
      }
    } finally {
      writing = false;
      outbox.spillIfTaken(to);
    }
  }

  /**
   * One stream's turn.
   *
   * @return whether it has more to send and may
   */
  private boolean turn(Line line, ChannelHandlerContext to) {
    int left = Math.min(outbox.maxFrameSize(), MAX_TURN_BYTES);
    line.writing = true;
    try {
      for (FlowControlled frame = line.frames.peek();
          frame != null && !line.over;
          frame = line.frames.peek()) {
        int before = frame.size();
        int most = Math.min(left, Math.min(line.windowBytes, connectionWindowBytes));
        if (before > 0 && most <= 0) {
          return line.windowBytes > 0;
        }
        frame.write(to, Math.max(0, most));
        int written = before - frame.size();
        left -= written;
        line.windowBytes -= written;
        connectionWindowBytes -= written;
        count(line, -written);
        if (frame.size() == 0) {
          line.frames.remove();
          frame.writeComplete();
        }
      }
    } catch (RuntimeException e) {
      line.over = true;
      line.writing = false;
      end(line, e);
    } finally {
      line.writing = false;
    }
    if (line.over) {
      end(line, null);
    }
    return false;
  }

  /** Nothing more can be sent on the stream; what waits hears of it. */
  private void end(Line line, @Nullable Throwable cause) {
    line.over = true;
    if (line.writing) {
      return;
    }
    FlowControlled frame = line.frames.poll();
    if (frame == null) {
      return;
    }
    Http2Exception why =
        Http2Exception.streamError(
            line.stream.id(),
            cause == null ? Http2Error.STREAM_CLOSED : Http2Error.INTERNAL_ERROR,
            cause,
            "the stream has ended before all was sent");
    for (; frame != null; frame = line.frames.poll()) {
      count(line, -frame.size());
      frame.error(ctx, why);
    }
  }

  @Override
  public void incrementWindowSize(Http2Stream stream, int bytes) throws Http2Exception {
    if (stream.id() == Http2CodecUtil.CONNECTION_STREAM_ID) {
      connectionWindowBytes = grown(0, connectionWindowBytes, bytes);
    } else {
      Line line = line(stream);
      line.windowBytes = grown(stream.id(), line.windowBytes, bytes);
      makeReady(line);
    }
  }

  private static int grown(int streamId, int windowBytes, int bytes) throws Http2Exception {
    if (bytes > 0 && Integer.MAX_VALUE - bytes < windowBytes) {
      throw Http2Exception.streamError(
          streamId,
          Http2Error.FLOW_CONTROL_ERROR,
          "a window of %d bytes cannot grow by %d",
          windowBytes,
          bytes);
    }
    return windowBytes + bytes;
  }

  @Override
  public void initialWindowSize(int bytes) throws Http2Exception {
    int more = bytes - initialWindowBytes;
    initialWindowBytes = bytes;
    connection.forEachActiveStream(
        stream -> {
          incrementWindowSize(stream, more);
          return true;
        });
  }

  @Override
  public int initialWindowSize() {
    return initialWindowBytes;
  }

  @Override
  public int windowSize(Http2Stream stream) {
    return stream.id() == Http2CodecUtil.CONNECTION_STREAM_ID
        ? connectionWindowBytes
        : line(stream).windowBytes;
  }

  @Override
  public void channelHandlerContext(ChannelHandlerContext known) {
    ctx = known;
  }

  @Override
  public @Nullable ChannelHandlerContext channelHandlerContext() {
    return ctx;
  }

  /** What waits is sent by the flush that follows. */
  @Override
  public void channelWritabilityChanged() {}

  /** Nobody is told: whoever sends asks. */
  @Override
  public void listener(Listener listener) {}

  /** gRPC has no priorities. */
  @Override
  public void updateDependencyTree(int child, int parent, short weight, boolean exclusive) {}
}
