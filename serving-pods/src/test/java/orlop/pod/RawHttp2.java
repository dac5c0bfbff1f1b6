package orlop.pod;

import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http2.DefaultHttp2HeadersDecoder;
import io.netty.handler.codec.http2.EmptyHttp2Headers;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2HeadersDecoder;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** One end of an HTTP/2 connection that writes its frames by hand, right or wrong. */
final class RawHttp2 implements AutoCloseable {
  static final int DATA = 0;
  static final int HEADERS = 1;
  static final int RST_STREAM = 3;
  static final int SETTINGS = 4;
  static final int PING = 6;
  static final int GOAWAY = 7;
  static final int WINDOW_UPDATE = 8;
  static final int CONTINUATION = 9;
  static final int PADDED = 8;
  static final int END_STREAM = 1;
  static final int END_HEADERS = 4;
  private static final byte[] PREFACE =
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".getBytes(StandardCharsets.US_ASCII);

  private final Socket socket;
  private final DataInputStream in;
  private final OutputStream out;
  private final Http2HeadersDecoder decoder = new DefaultHttp2HeadersDecoder(false);

  /** What the last header block said that came in one frame. */
  private Http2Headers headers = EmptyHttp2Headers.INSTANCE;

  /** A frame as it came. */
  record Frame(int type, int flags, int stream, byte[] payload) {
    boolean ends() {
      return (flags & END_STREAM) != 0 && (type == DATA || type == HEADERS);
    }

    int number(int at) {
      return ByteBuffer.wrap(payload).getInt(at);
    }

    /** Whether these bytes are in it. */
    boolean contains(byte[] text) {
      for (int i = 0; i + text.length <= payload.length; i++) {
        int j = 0;
        while (j < text.length && payload[i + j] == text[j]) {
          j++;
        }
        if (j == text.length) {
          return true;
        }
      }
      return false;
    }
  }

  RawHttp2(Socket socket) throws IOException {
    this.socket = socket;
    socket.setTcpNoDelay(true);
    socket.setSoTimeout(30_000);
    in = new DataInputStream(new java.io.BufferedInputStream(socket.getInputStream()));
    out = socket.getOutputStream();
  }

  /** A client that has said hello. */
  static RawHttp2 client(int port) throws IOException {
    RawHttp2 client = new RawHttp2(new Socket(InetAddress.getLoopbackAddress(), port));
    client.write(PREFACE);
    client.frame(SETTINGS, 0, 0, new byte[0]);
    return client;
  }

  void readPreface() throws IOException {
    in.readNBytes(PREFACE.length);
  }

  void write(byte[] bytes) throws IOException {
    out.write(bytes);
    out.flush();
  }

  void frame(int type, int flags, int stream, byte[] payload) throws IOException {
    ByteBuffer frame = ByteBuffer.allocate(9 + payload.length);
    frame.put((byte) (payload.length >> 16)).putShort((short) payload.length);
    frame.put((byte) type).put((byte) flags).putInt(stream).put(payload);
    write(frame.array());
  }

  static byte[] number(int value) {
    return ByteBuffer.allocate(4).putInt(value).array();
  }

  /** Fields as literals that are not indexed, without compression. */
  static byte[] block(String... namesAndValues) {
    ByteArrayOutputStream block = new ByteArrayOutputStream();
    for (int i = 0; i < namesAndValues.length; i += 2) {
      block.write(0);
      string(block, namesAndValues[i]);
      string(block, namesAndValues[i + 1]);
    }
    return block.toByteArray();
  }

  private static void string(ByteArrayOutputStream block, String text) {
    int length = text.length();
    if (length < 127) {
      block.write(length);
    } else {
      block.write(127);
      int rest = length - 127;
      while (rest >= 128) {
        block.write(rest & 127 | 128);
        rest >>= 7;
      }
      block.write(rest);
    }
    block.writeBytes(text.getBytes(StandardCharsets.ISO_8859_1));
  }

  static byte[] call(String path, String... more) {
    String[] all = new String[10 + more.length];
    String[] fixed = {
      ":method",
      "POST",
      ":scheme",
      "http",
      ":path",
      path,
      ":authority",
      "pod",
      "content-type",
      "application/grpc"
    };
    System.arraycopy(fixed, 0, all, 0, 10);
    System.arraycopy(more, 0, all, 10, more.length);
    return block(all);
  }

  static byte[] message(byte[] bytes) {
    return ByteBuffer.allocate(5 + bytes.length)
        .put((byte) 0)
        .putInt(bytes.length)
        .put(bytes)
        .array();
  }

  /** The next frame but settings and window updates; null when the other end has closed. */
  @Nullable Frame next() throws IOException {
    while (true) {
      int length;
      try {
        length = in.readUnsignedByte() << 16 | in.readUnsignedShort();
      } catch (EOFException | java.net.SocketException e) {
        return null;
      }
      int type = in.readUnsignedByte();
      int flags = in.readUnsignedByte();
      int stream = in.readInt();
      Frame frame = new Frame(type, flags, stream, in.readNBytes(length));
      if (type == HEADERS && (flags & END_HEADERS) != 0) {
        read(frame);
      }
      if (type == SETTINGS && (flags & 1) == 0) {
        acknowledge();
      } else if (type != SETTINGS && type != WINDOW_UPDATE) {
        return frame;
      }
    }
  }

  private void read(Frame block) throws IOException {
    try {
      headers = decoder.decodeHeaders(block.stream, Unpooled.wrappedBuffer(block.payload));
    } catch (Http2Exception e) {
      throw new IOException("a header block cannot be read", e);
    }
  }

  /** What the last header block said; empty when it did not say that. */
  String header(String name) {
    CharSequence value = headers.get(name);
    return value == null ? "" : value.toString();
  }

  private void acknowledge() throws IOException {
    try {
      frame(SETTINGS, 1, 0, new byte[0]);
    } catch (java.net.SocketException e) {
      // The other end has closed; what it said before that is still to be read.
    }
  }

  /** The next frame of that type; others are passed over. */
  Frame next(int type) throws IOException {
    for (Frame frame = next(); frame != null; frame = next()) {
      if (frame.type == type) {
        return frame;
      }
    }
    throw new IOException("the connection ended before a frame of type " + type);
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
