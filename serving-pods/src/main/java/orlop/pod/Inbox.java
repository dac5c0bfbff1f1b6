package orlop.pod;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.http2.DefaultHttp2FrameReader;
import io.netty.handler.codec.http2.DefaultHttp2HeadersDecoder;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2Flags;
import io.netty.handler.codec.http2.Http2FrameListener;
import io.netty.handler.codec.http2.Http2FrameTypes;

/**
 * Reads one connection's frames. Data is passed on in parts as its bytes come, so a frame may be
 * long without anybody holding it; all other frames are Netty's to read, whole. A part is a slice
 * of what the socket gave, and its listener's if it retains it. Owned by the connection's event
 * loop.
 */
final class Inbox extends DefaultHttp2FrameReader {
  /** The least part of a data frame that is passed on before the rest of it has come. */
  static final int PART_BYTES = 16 << 10;

  private static final int HEADER_BYTES = 9;

  /** What a frame that is no data may carry: no more than all of its header list, or by default. */
  private final int maxOtherBytes;

  private int streamId;
  private boolean end;
  private int dataLeft;

  /** Padding of the frame under way, with the byte that says how much it is. */
  private int padding;

  private int paddingLeft;
  private boolean inHeaderBlock;
  private boolean toldError;
  private boolean broken;

  /**
   * @param validate whether headers are looked at for what HTTP/2 does not allow
   */
  Inbox(int maxHeaderBytes, boolean validate) {
    super(new DefaultHttp2HeadersDecoder(validate, maxHeaderBytes));
    maxOtherBytes = Math.max(maxFrameSize(), maxHeaderBytes);
  }

  @Override
  public void readFrame(ChannelHandlerContext ctx, ByteBuf in, Http2FrameListener listener)
      throws Http2Exception {
    if (broken) {
      in.skipBytes(in.readableBytes());
      return;
    }
    try {
      boolean more = true;
      while (more && in.isReadable()) {
        if (dataLeft > 0) {
          more = part(ctx, in, listener);
        } else if (paddingLeft > 0) {
          int here = Math.min(paddingLeft, in.readableBytes());
          in.skipBytes(here);
          paddingLeft -= here;
        } else {
          more = frame(ctx, in, listener);
        }
      }
    } catch (Http2Exception e) {
      broken = !Http2Exception.isStreamError(e);
      throw e;
    } catch (RuntimeException | Error e) {
      broken = true;
      throw e;
    }
  }

  /** Returns false when there is not enough of it yet. */
  private boolean frame(ChannelHandlerContext ctx, ByteBuf in, Http2FrameListener listener)
      throws Http2Exception {
    if (in.readableBytes() < HEADER_BYTES) {
      return false;
    }
    int at = in.readerIndex();
    int length = in.getUnsignedMedium(at);
    byte type = in.getByte(at + 3);
    int flags = in.getUnsignedByte(at + 4);
    boolean data = type == Http2FrameTypes.DATA && !inHeaderBlock;
    int most = data ? maxFrameSize() : Math.min(maxFrameSize(), maxOtherBytes);
    if (length > most) {
      throw Http2Exception.connectionError(
          Http2Error.FRAME_SIZE_ERROR,
          "a frame of type %d has %d bytes, more than the %d that it may have",
          type,
          length,
          most);
    }
    int id = in.getInt(at + 5) & Integer.MAX_VALUE;
    if (data && id != 0 && length > 0) {
      return data(ctx, in, listener, id, length, flags);
    }
    if (in.readableBytes() < HEADER_BYTES + length) {
      return false;
    }
    if (type == Http2FrameTypes.HEADERS
        || type == Http2FrameTypes.PUSH_PROMISE
        || type == Http2FrameTypes.CONTINUATION) {
      inHeaderBlock = (flags & Http2Flags.END_HEADERS) == 0;
    }
    super.readFrame(ctx, in.readSlice(HEADER_BYTES + length), listener);
    return true;
  }

  /** The beginning of a frame of data. */
  private boolean data(
      ChannelHandlerContext ctx,
      ByteBuf in,
      Http2FrameListener listener,
      int id,
      int length,
      int flags)
      throws Http2Exception {
    boolean padded = (flags & Http2Flags.PADDED) != 0;
    if (padded && in.readableBytes() == HEADER_BYTES) {
      return false;
    }
    in.skipBytes(HEADER_BYTES);
    paddingLeft = padded ? in.readUnsignedByte() : 0;
    padding = padded ? paddingLeft + 1 : 0;
    if (padding > length) {
      throw Http2Exception.connectionError(
          Http2Error.PROTOCOL_ERROR,
          "a frame of %d bytes says that %d of them are padding",
          length,
          padding);
    }
    streamId = id;
    end = (flags & Http2Flags.END_STREAM) != 0;
    dataLeft = length - padding;
    toldError = false;
    return dataLeft > 0 ? part(ctx, in, listener) : pass(ctx, in, listener, 0);
  }

  private boolean part(ChannelHandlerContext ctx, ByteBuf in, Http2FrameListener listener)
      throws Http2Exception {
    int here = Math.min(dataLeft, in.readableBytes());
    if (here < dataLeft && here < PART_BYTES) {
      return false;
    }
    dataLeft -= here;
    return pass(ctx, in, listener, here);
  }

  private boolean pass(
      ChannelHandlerContext ctx, ByteBuf in, Http2FrameListener listener, int bytes)
      throws Http2Exception {
    boolean last = dataLeft == 0;
    ByteBuf part = in.readRetainedSlice(bytes);
    try {
      listener.onDataRead(ctx, streamId, part, last ? padding : 0, last && end);
    } catch (Http2Exception e) {
      // One frame in the wrong place is one error, in however many parts it comes.
      if (!Http2Exception.isStreamError(e) || !toldError) {
        toldError = true;
        throw e;
      }
    } finally {
      part.release();
    }
    return true;
  }
}
