package orlop.drift;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Every way in which a request may carry numbers, and those in which it may be wrong. */
class RowReaderTest {

  @Test
  void readsEveryRawDatatype() throws Exception {
    assertRaw("BOOL", 1, data -> data.put((byte) 1).put((byte) 0), 1, 0);
    assertRaw("INT8", 1, data -> data.put((byte) -3).put((byte) 4), -3, 4);
    assertRaw("UINT8", 1, data -> data.put((byte) 253).put((byte) 4), 253, 4);
    assertRaw("INT16", 2, data -> data.putShort((short) -3).putShort((short) 4), -3, 4);
    assertRaw("UINT16", 2, data -> data.putShort((short) 65533).putShort((short) 4), 65533, 4);
    assertRaw("INT32", 4, data -> data.putInt(-3).putInt(4), -3, 4);
    assertRaw("UINT32", 4, data -> data.putInt(-1).putInt(4), 4294967295f, 4);
    assertRaw("INT64", 8, data -> data.putLong(-3).putLong(4), -3, 4);
    assertRaw("UINT64", 8, data -> data.putLong(-1).putLong(4), 1.8446744e19f, 4);
    assertRaw("FP32", 4, data -> data.putFloat(-3.5f).putFloat(4), -3.5f, 4);
    assertRaw("FP64", 8, data -> data.putDouble(-3.5).putDouble(4), -3.5f, 4);
    assertRaw("FP16", 2, data -> data.putShort((short) 0xC300).putShort((short) 0x4400), -3.5f, 4);
    assertRaw("BF16", 2, data -> data.putShort((short) 0xC060).putShort((short) 0x4080), -3.5f, 4);
  }

  @Test
  void readsEveryTypedDatatype() throws Exception {
    assertTyped("BOOL", contents -> contents.addBoolContents(true).addBoolContents(false), 1, 0);
    for (String type : List.of("INT8", "INT16", "INT32")) {
      assertTyped(type, contents -> contents.addIntContents(-3).addIntContents(4), -3, 4);
    }
    assertTyped("INT64", contents -> contents.addInt64Contents(-3).addInt64Contents(4), -3, 4);
    for (String type : List.of("UINT8", "UINT16", "UINT32")) {
      assertTyped(type, contents -> contents.addUintContents(3).addUintContents(4), 3, 4);
    }
    assertTyped("UINT64", contents -> contents.addUint64Contents(3).addUint64Contents(4), 3, 4);
    assertTyped("FP32", contents -> contents.addFp32Contents(-.5f).addFp32Contents(4), -.5f, 4);
    assertTyped("FP64", contents -> contents.addFp64Contents(-.5).addFp64Contents(4), -.5f, 4);
  }

  @Test
  void choosesOneWholeRowAndEachAboutAsOften() throws Exception {
    byte[] request = Payloads.raw(new double[] {0, 10}, new double[] {1, 11}, new double[] {2, 12});
    int[] chosen = new int[3];
    for (int i = 0; i < 3_000; i++) {
      Row row = RowReader.read(request, Hash.seed("id", 0, i));
      assertEquals(row.values()[0] + 10, row.values()[1]);
      chosen[(int) row.values()[0]]++;
    }
    for (int count : chosen) {
      assertEquals(1_000, count, 130);
    }
  }

  @Test
  void flattensTheDimensionsAfterTheFirst() throws Exception {
    ModelInferRequest request =
        ModelInferRequest.newBuilder()
            .addInputs(Payloads.tensor("img", "UINT8", 1, 2, 2))
            .addInputs(Payloads.tensor("text", "BYTES", 1, 1))
            .addInputs(Payloads.tensor("flat", "UINT8", 1))
            .addRawInputContents(ByteString.copyFrom(new byte[] {1, 2, 3, 4}))
            .addRawInputContents(ByteString.copyFrom(new byte[] {1, 0, 0, 0, 'a'}))
            .addRawInputContents(ByteString.copyFrom(new byte[] {9}))
            .build();
    Row row = RowReader.read(request.toByteArray(), 1);
    assertArrayEquals(new float[] {1, 2, 3, 4, 9}, row.values());
    assertEquals(new FeatureKey("img", 3), row.keys().get(3));
    assertEquals(new FeatureKey("flat", 0), row.keys().get(4));
  }

  @Test
  void leavesOutRowsThatAreTooWide() throws Exception {
    ModelInferRequest request =
        ModelInferRequest.newBuilder()
            .addInputs(Payloads.tensor("x", "UINT8", 1, 1 << 20, 1 << 20, 1 << 30))
            .build();
    assertTrue(RowReader.read(request.toByteArray(), 1).keys().isEmpty());
  }

  @Test
  void refusesContentsThatDoNotFitTheShape() {
    ModelInferRequest.Builder request =
        ModelInferRequest.newBuilder()
            .addInputs(Payloads.tensor("x", "FP32", 2, 3))
            .addRawInputContents(ByteString.copyFrom(new byte[20]));
    assertEquals("input tensor x has 20 raw bytes, its shape says 24", failure(request.build()));
    request.clearRawInputContents();
    assertEquals("input tensor x has 0 elements, its shape says 6", failure(request.build()));
    request.setInputs(0, Payloads.tensor("x", "FP32", -1, 3));
    assertTrue(failure(request.build()).contains("dimension 0 is -1"));
    request.setInputs(0, Payloads.tensor("x", "FP8", 1, 3));
    assertTrue(failure(request.build()).contains("FP8"));
  }

  @Test
  void anyBytesAreEitherReadOrRefusedWithTheOneExpectedException() {
    SplittableRandom random = new SplittableRandom(1);
    byte[] good = Payloads.raw(new double[] {1, 2, 3});
    int refused = 0;
    for (int i = 0; i < 20_000; i++) {
      byte[] bytes = good.clone();
      for (int flips = random.nextInt(1, 4); flips > 0; flips--) {
        bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
      }
      try {
        RowReader.read(bytes, i);
      } catch (InvalidProtocolBufferException e) {
        refused++;
      }
    }
    assertTrue(refused > 1_000);
  }

  private static String failure(ModelInferRequest request) {
    InvalidProtocolBufferException e =
        assertThrows(
            InvalidProtocolBufferException.class, () -> RowReader.read(request.toByteArray(), 0));
    return String.valueOf(e.getMessage());
  }

  private static void assertRaw(
      String datatype, int width, Consumer<ByteBuffer> put, float... expected) throws Exception {
    ByteBuffer data = ByteBuffer.allocate(2 * width).order(ByteOrder.LITTLE_ENDIAN);
    put.accept(data);
    ModelInferRequest request =
        ModelInferRequest.newBuilder()
            .addInputs(Payloads.tensor("x", datatype, 1, 2))
            .addRawInputContents(ByteString.copyFrom(data.flip()))
            .build();
    assertArrayEquals(expected, RowReader.read(request.toByteArray(), 7).values(), datatype);
  }

  private static void assertTyped(
      String datatype, Consumer<InferTensorContents.Builder> put, float... expected)
      throws Exception {
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    put.accept(contents);
    ModelInferRequest request =
        ModelInferRequest.newBuilder()
            .addInputs(Payloads.tensor("x", datatype, 1, 2).setContents(contents))
            .build();
    assertArrayEquals(expected, RowReader.read(request.toByteArray(), 7).values(), datatype);
  }
}
