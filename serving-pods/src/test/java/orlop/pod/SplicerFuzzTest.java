package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnknownFieldSet;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * The name in a passing message is found and changed as the real parser would see it. Method: a
 * million messages, right and damaged, whole and in pieces, beside protobuf-java on the same bytes.
 * Each comes from a seed of its own; a failure prints the seed and the bytes.
 */
@Tag("slow")
class SplicerFuzzTest {
  private static final int INPUTS = 1_000_000;
  private static final String OTHER = "another-name";

  @Test
  void aMillionMessagesAreReadAndRenamedAsTheParserSeesThem() {
    int accepted = 0;
    int named = 0;
    for (long seed = 0; seed < INPUTS; seed++) {
      Random random = new Random(seed * 0x9E3779B97F4A7C15L);
      byte[] bytes = input(random);
      try {
        boolean right = whole(bytes);
        accepted += right ? 1 : 0;
        named += pieces(bytes, random, right) ? 1 : 0;
        answer(bytes, random, right);
        request(bytes, random, right);
      } catch (Exception | AssertionError e) {
        throw new AssertionError(
            "seed " + seed + ", message " + HexFormat.of().formatHex(bytes) + ": " + e, e);
      }
    }
    // Neither only rubbish nor only what anybody can read.
    assertTrue(accepted > INPUTS / 3 && accepted < INPUTS - INPUTS / 10, accepted + " accepted");
    assertTrue(named > INPUTS / 10, named + " named before their end");
  }

  /**
   * A message that has all arrived. What the parser accepts is read alike and renamed to what the
   * parser then reads; what it refuses is refused, or left to whoever parses it.
   *
   * @return whether the parser accepts it
   */
  private static boolean whole(byte[] bytes) throws InvalidProtocolBufferException {
    ModelInferRequest parsed;
    try {
      parsed = ModelInferRequest.parseFrom(bytes);
    } catch (InvalidProtocolBufferException e) {
      refusedOrLeft(bytes, bytes.length);
      return false;
    }
    NamePeek peek = new NamePeek();
    NamePeek.Found found;
    try {
      found = peek.look(Unpooled.wrappedBuffer(bytes), bytes.length);
    } catch (InvalidProtocolBufferException e) {
      assertTrue(overlong(String.valueOf(e.getMessage())), "refused: " + e.getMessage());
      return false;
    }
    assertEquals(parsed.getModelName(), peek.name());
    boolean stands = UnknownFieldSet.parseFrom(bytes).hasField(1) && hasText(bytes);
    assertEquals(stands ? NamePeek.Found.NAME : NamePeek.Found.NONE, found);
    if (stands) {
      byte[] field = Arrays.copyOfRange(bytes, peek.from(), peek.to());
      assertEquals(parsed.getModelName(), ModelInferRequest.parseFrom(field).getModelName());
      ByteBuf renamed = Rename.renamed(framed(bytes), peek, OTHER);
      assertEquals(parsed.toBuilder().setModelName(OTHER).build(), unframed(renamed));
      renamed.release();
    }
    return true;
  }

  /** The parser takes a tenth byte that says another follows, against the specification. */
  private static boolean overlong(String why) {
    return why.contains("a number of more than 10 bytes");
  }

  private static boolean hasText(byte[] bytes) throws InvalidProtocolBufferException {
    return !UnknownFieldSet.parseFrom(bytes).getField(1).getLengthDelimitedList().isEmpty();
  }

  /** No other failure than a refusal. */
  private static void refusedOrLeft(byte[] bytes, int length) {
    try {
      new NamePeek().look(Unpooled.wrappedBuffer(bytes), length);
    } catch (InvalidProtocolBufferException e) {
      assertTrue(String.valueOf(e.getMessage()).contains(" at byte "), e.toString());
    }
  }

  /**
   * A message that arrives piece by piece: the first name is found as soon as it is all there, and
   * the last one where the end came first.
   *
   * @return whether a name was found before the end
   */
  private static boolean pieces(byte[] bytes, Random random, boolean right)
      throws InvalidProtocolBufferException {
    NamePeek peek = new NamePeek();
    NamePeek.Found found = NamePeek.Found.MORE;
    int arrived = 0;
    try {
      for (int cut : cuts(bytes, random)) {
        arrived = cut;
        found = peek.look(Unpooled.wrappedBuffer(bytes, 0, arrived), bytes.length);
        if (found != NamePeek.Found.MORE) {
          break;
        }
      }
    } catch (InvalidProtocolBufferException e) {
      assertTrue(
          !right || overlong(String.valueOf(e.getMessage())),
          "refused in pieces: " + e.getMessage());
      return false;
    }
    if (!right) {
      return false;
    }
    List<ByteString> names = UnknownFieldSet.parseFrom(bytes).getField(1).getLengthDelimitedList();
    // Where a last field's length says that nothing comes after it, its bytes need not be there.
    if (arrived == bytes.length || found == NamePeek.Found.NONE) {
      assertEquals(names.isEmpty() ? NamePeek.Found.NONE : NamePeek.Found.NAME, found);
      assertEquals(names.isEmpty() ? "" : names.getLast().toStringUtf8(), peek.name());
      return false;
    }
    assertEquals(NamePeek.Found.NAME, found);
    assertEquals(names.getFirst().toStringUtf8(), peek.name());
    return true;
  }

  /** An answer that passes in pieces: all bytes come out, with the name changed. */
  private static void answer(byte[] bytes, Random random, boolean right)
      throws InvalidProtocolBufferException, Compression.Unreadable {
    byte[] out = passed(new Rename(OTHER, NamePeek.FIRST, Integer.MAX_VALUE), bytes, random);
    if (!right) {
      return;
    }
    ModelInferRequest parsed = ModelInferRequest.parseFrom(bytes);
    List<ByteString> names = UnknownFieldSet.parseFrom(bytes).getField(1).getLengthDelimitedList();
    ModelInferRequest read = unframed(Unpooled.wrappedBuffer(out));
    if (names.size() < 2) {
      String expected = names.isEmpty() ? "" : OTHER;
      assertEquals(parsed.toBuilder().setModelName(expected).build(), read);
    } else {
      // One of several was changed; the parser reads the last.
      assertEquals(
          parsed.toBuilder().clearModelName().build(), read.toBuilder().clearModelName().build());
      String name = read.getModelName();
      assertTrue(name.equals(OTHER) || name.equals(parsed.getModelName()), name);
    }
  }

  /**
   * A request that passes in pieces: whatever it says, the parser reads the new name or nothing at
   * all, and what it would accept is refused for a second name only.
   */
  private static void request(byte[] bytes, Random random, boolean right)
      throws InvalidProtocolBufferException {
    byte[] out;
    try {
      Rename rename = new Rename(OTHER, NamePeek.FIRST, Integer.MAX_VALUE).forRequests(null);
      out = passed(rename, bytes, random);
      assertTrue(!rename.cutOff(), "cut off");
    } catch (Compression.Unreadable e) {
      String why = String.valueOf(e.getMessage());
      boolean named = why.contains(" times in field 1, expected once");
      assertTrue(!right || named || overlong(why), "refused: " + why);
      if (named && right) {
        UnknownFieldSet read = UnknownFieldSet.parseFrom(bytes);
        assertTrue(read.getField(1).getLengthDelimitedList().size() > 1, "it has one name");
      }
      return;
    }
    ModelInferRequest read;
    try {
      read = unframed(Unpooled.wrappedBuffer(out));
    } catch (InvalidProtocolBufferException e) {
      assertTrue(!right, "unreadable with the new name: " + e.getMessage());
      return;
    }
    assertEquals(OTHER, read.getModelName());
    if (right) {
      ModelInferRequest parsed = ModelInferRequest.parseFrom(bytes);
      assertEquals(parsed.toBuilder().setModelName(OTHER).build(), read);
    }
  }

  /** All that comes out of a message in pieces. */
  private static byte[] passed(Rename rename, byte[] bytes, Random random)
      throws Compression.Unreadable {
    byte[] frame = ByteBufUtil.getBytes(framed(bytes));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    int from = 0;
    for (int cut : cuts(frame, random)) {
      ByteBuf passed = rename.next(Unpooled.copiedBuffer(frame, from, cut - from));
      if (passed != null) {
        out.writeBytes(ByteBufUtil.getBytes(passed));
        passed.release();
      }
      from = cut;
    }
    ByteBuf rest = rename.rest();
    if (rest != null) {
      out.writeBytes(ByteBufUtil.getBytes(rest));
      rest.release();
    }
    return out.toByteArray();
  }

  private static ByteBuf framed(byte[] bytes) {
    return Unpooled.buffer().writeByte(0).writeInt(bytes.length).writeBytes(bytes);
  }

  private static ModelInferRequest unframed(ByteBuf frame) throws InvalidProtocolBufferException {
    byte[] bytes = ByteBufUtil.getBytes(frame);
    int length = frame.getInt(frame.readerIndex() + 1);
    assertEquals(bytes.length - Wire.PREFIX_BYTES, length, "length in the prefix");
    return ModelInferRequest.parseFrom(
        ByteString.copyFrom(bytes, Wire.PREFIX_BYTES, bytes.length - Wire.PREFIX_BYTES));
  }

  /** Where the pieces end: after every byte, in halves, at a few places, or all at once. */
  private static Iterable<Integer> cuts(byte[] bytes, Random random) {
    TreeSet<Integer> cuts = new TreeSet<>();
    switch (random.nextInt(4)) {
      case 0 -> {
        for (int i = 0; i < bytes.length && i < 64; i++) {
          cuts.add(i);
        }
      }
      case 1 -> cuts.add(bytes.length / 2);
      case 2 -> {
        for (int i = random.nextInt(6); i >= 0; i--) {
          cuts.add(random.nextInt(bytes.length + 1));
        }
      }
      default -> {}
    }
    cuts.add(bytes.length);
    return cuts;
  }

  // The messages.

  private static byte[] input(Random random) {
    byte[] bytes = right(random);
    for (int damages = random.nextInt(5) - 2; damages > 0; damages--) {
      bytes = damaged(bytes, random);
    }
    return bytes;
  }

  /** Well-formed: known fields in any order, unknown ones, groups, numbers longer than needed. */
  private static byte[] right(Random random) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    for (int fields = random.nextInt(6); fields > 0; fields--) {
      bytes.writeBytes(field(random));
    }
    return bytes.toByteArray();
  }

  private static byte[] field(Random random) {
    return switch (random.nextInt(9)) {
      case 0, 1, 2 -> lengthDelimited(1, text(random), random);
      case 3 -> lengthDelimited(2 + random.nextInt(2), text(random), random);
      case 4 -> lengthDelimited(5, tensor(random), random);
      case 5 -> lengthDelimited(7, noise(random, random.nextInt(20) == 0 ? 3_000 : 80), random);
      case 6 -> unknown(random);
      case 7 -> group(random, 0);
      default -> join(tag(1, random.nextBoolean() ? 0 : 5, random), number(random, 4));
    };
  }

  private static byte[] tensor(Random random) {
    return ModelInferRequest.InferInputTensor.newBuilder()
        .setName("x")
        .setDatatype("FP32")
        .addShape(random.nextLong())
        .setContents(InferTensorContents.newBuilder().addFp32Contents(random.nextFloat()))
        .build()
        .toByteArray();
  }

  private static byte[] unknown(Random random) {
    int number = 20 + random.nextInt(random.nextBoolean() ? 10 : 1 << 28);
    return switch (random.nextInt(4)) {
      case 0 -> join(tag(number, 0, random), varint(random.nextLong(), random));
      case 1 -> join(tag(number, 1, random), number(random, 8));
      case 2 -> lengthDelimited(number, noise(random, 40), random);
      default -> join(tag(number, 5, random), number(random, 4));
    };
  }

  /** A group may hold a field 1 of its own, which names nothing. */
  private static byte[] group(Random random, int depth) {
    int number = 30 + random.nextInt(5);
    byte[] inside =
        switch (random.nextInt(4)) {
          case 0 -> new byte[0];
          case 1 -> lengthDelimited(1, text(random), random);
          case 2 -> unknown(random);
          default -> depth < 5 ? group(random, depth + 1) : new byte[0];
        };
    return join(tag(number, 3, random), inside, tag(number, 4, random));
  }

  private static byte[] text(Random random) {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(random.nextInt(30) == 0 ? 300 : 12); i > 0; i--) {
      text.appendCodePoint(
          switch (random.nextInt(12)) {
            case 0 -> 0x1F600 + random.nextInt(50);
            case 1 -> 0xE0 + random.nextInt(0x1000);
            default -> ' ' + random.nextInt(95);
          });
    }
    return text.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8);
  }

  private static byte[] lengthDelimited(int field, byte[] value, Random random) {
    return join(tag(field, 2, random), varint(value.length, random), value);
  }

  private static byte[] tag(int field, int type, Random random) {
    return varint((field << 3 | type) & 0xFFFF_FFFFL, random);
  }

  /** Now and then with more bytes than it needs, which a parser must take. */
  private static byte[] varint(long value, Random random) {
    byte[] bytes = new byte[CodedOutputStream.computeUInt64SizeNoTag(value)];
    CodedOutputStream out = CodedOutputStream.newInstance(bytes);
    try {
      out.writeUInt64NoTag(value);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    int longer = random.nextInt(8) == 0 ? random.nextInt(10 - bytes.length + 1) : 0;
    if (longer == 0) {
      return bytes;
    }
    byte[] padded = Arrays.copyOf(bytes, bytes.length + longer);
    for (int i = bytes.length - 1; i < padded.length - 1; i++) {
      padded[i] |= (byte) 0x80;
    }
    return padded;
  }

  private static byte[] number(Random random, int bytes) {
    byte[] number = new byte[bytes];
    random.nextBytes(number);
    // A varint that stands in its place must end.
    number[0] &= 0x7f;
    return number;
  }

  private static byte[] noise(Random random, int most) {
    byte[] noise = new byte[random.nextInt(most)];
    random.nextBytes(noise);
    return noise;
  }

  private static byte[] damaged(byte[] bytes, Random random) {
    int at = random.nextInt(bytes.length + 1);
    byte[] before = Arrays.copyOf(bytes, at);
    byte[] after = Arrays.copyOfRange(bytes, at, bytes.length);
    return switch (random.nextInt(5)) {
      case 0 -> before;
      case 1 -> join(before, noise(random, 6), after);
      case 2 ->
          after.length == 0 ? bytes : join(before, Arrays.copyOfRange(after, 1, after.length));
      case 3 -> join(bytes, right(random));
      default -> {
        byte[] changed = bytes.clone();
        if (at < changed.length) {
          changed[at] ^= (byte) (1 << random.nextInt(8));
        }
        yield changed;
      }
    };
  }

  private static byte[] join(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }
}
