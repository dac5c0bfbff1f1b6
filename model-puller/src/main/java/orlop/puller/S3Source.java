package orlop.puller;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import orlop.puller.Checksum.Algorithm;
import orlop.puller.Listing.Item;
import orlop.puller.PullException.Kind;
import software.amazon.awssdk.core.ResponseInputStream;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.ChecksumType;
import software.amazon.awssdk.services.s3.model.GetObjectRequest;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.ListObjectsV2Response;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.model.ServerSideEncryption;

/**
 * One object, or all objects below one prefix, in an S3 bucket. Every read names the ETag that was
 * listed ({@code If-Match}), so bytes of two versions are never mixed.
 */
final class S3Source implements Source.Remote {
  private static final Pattern MD5 = Pattern.compile("[0-9a-fA-F]{32}");
  private static final int BUFFER_BYTES = 64 << 10;

  private final Place place;
  private final S3Client client;
  private final S3Clients.Access access;
  private final String storage;
  private final String bucket;

  /** Without slashes at its end. */
  private final String prefix;

  /** The location ends in a slash, or is the whole bucket: it cannot be a single object. */
  private final boolean directory;

  S3Source(
      Place place,
      S3Client client,
      S3Clients.Access access,
      String storage,
      String bucket,
      String prefix) {
    this.place = place;
    this.client = client;
    this.access = access;
    this.storage = storage;
    this.bucket = bucket;
    this.directory = prefix.isEmpty() || prefix.endsWith("/");
    int end = prefix.length();
    while (end > 0 && prefix.charAt(end - 1) == '/') {
      end--;
    }
    this.prefix = prefix.substring(0, end);
  }

  @Override
  public Place place() {
    return place;
  }

  @Override
  public String id() {
    return contentPlace() + (directory ? "/" : "") + " as '" + storage + "'";
  }

  @Override
  public String contentPlace() {
    return store() + "/" + prefix;
  }

  @Override
  public String store() {
    return access.endpointName() + " s3://" + bucket;
  }

  @Override
  public Listing list() throws PullException, InterruptedException {
    PullException refusedListing = null;
    try {
      List<Item> items = listBelow();
      if (!items.isEmpty()) {
        Listing.requireSafeNames(place, items);
        return new Listing(false, items);
      }
    } catch (PullException e) {
      // Leave to read an object does not include leave to list its bucket.
      if (e.kind() != Kind.FORBIDDEN || directory) {
        throw e;
      }
      refusedListing = e;
    }
    Item item = directory ? null : headItem(refusedListing);
    if (item != null) {
      Listing.requireSafeNames(place, List.of(item));
      return new Listing(true, List.of(item));
    }
    if (refusedListing != null) {
      throw refusedListing;
    }
    throw place.failure(
        Kind.NOT_FOUND,
        "bucket '"
            + bucket
            + "' has nothing below '"
            + below()
            + "'"
            + (directory ? "" : " and no object '" + prefix + "'"));
  }

  private String below() {
    return prefix.isEmpty() ? "" : prefix + "/";
  }

  private List<Item> listBelow() throws PullException, InterruptedException {
    List<Item> items = new ArrayList<>();
    String below = below();
    String token = null;
    do {
      ListObjectsV2Response page = page(below, token);
      for (S3Object object : page.contents()) {
        // Consoles write empty objects that end in a slash so as to show a folder.
        if (!object.key().endsWith("/")) {
          String name = object.key().substring(below.length());
          items.add(item(name, object.key(), object.size(), object.eTag()));
        }
      }
      if (items.size() > Listing.MAX_ITEMS) {
        throw place.failure(
            Kind.BAD_LOCATION, "more than " + Listing.MAX_ITEMS + " objects: not one model");
      }
      token = Boolean.TRUE.equals(page.isTruncated()) ? page.nextContinuationToken() : null;
    } while (token != null);
    return items;
  }

  private ListObjectsV2Response page(String below, @Nullable String token)
      throws PullException, InterruptedException {
    ListObjectsV2Response page;
    try {
      page = client.listObjectsV2(r -> r.bucket(bucket).prefix(below).continuationToken(token));
    } catch (SdkException e) {
      throw S3Failures.translate(place, "listing", e);
    }
    // A web page is well-formed enough to be read as an empty answer.
    if (page.keyCount() == null && page.isTruncated() == null) {
      throw place.failure(
          Kind.BAD_LOCATION,
          "listing was answered with something else than a list; is this an S3 endpoint?");
    }
    return page;
  }

  private Item item(String name, String key, long bytes, @Nullable String etag)
      throws PullException {
    if (etag == null || etag.isEmpty()) {
      throw place.failure(
          Kind.BAD_LOCATION, "the store gives no ETag for '" + key + "'; versions need one");
    }
    return new Item(name, key, bytes, etag);
  }

  private @Nullable Item headItem(@Nullable PullException refusedListing)
      throws PullException, InterruptedException {
    try {
      HeadObjectResponse head = client.headObject(r -> r.bucket(bucket).key(prefix));
      String name = prefix.substring(prefix.lastIndexOf('/') + 1);
      return item(name, prefix, head.contentLength(), head.eTag());
    } catch (S3Exception e) {
      if (e.statusCode() == 404) {
        return null;
      }
      // The answer to a HEAD has no body, so the refused listing tells more.
      if (e.statusCode() == 403 && refusedListing != null) {
        throw refusedListing;
      }
      throw S3Failures.translate(place, "asking for '" + prefix + "'", e);
    } catch (SdkException e) {
      throw S3Failures.translate(place, "asking for '" + prefix + "'", e);
    }
  }

  @Override
  public void read(Item item, long offset, long length, Sink sink)
      throws PullException, InterruptedException {
    GetObjectRequest.Builder request =
        GetObjectRequest.builder().bucket(bucket).key(item.key()).ifMatch(item.version());
    if (length < item.bytes()) {
      request.range("bytes=" + offset + "-" + (offset + length - 1));
    }
    ResponseInputStream<GetObjectResponse> body;
    try {
      body = client.getObject(request.build());
    } catch (SdkException e) {
      throw readFailure(item, e);
    }
    boolean complete = false;
    try {
      requireRange(item, offset, length, body.response());
      copy(body, length, sink);
      complete = true;
    } finally {
      if (complete) {
        closeQuietly(body);
      } else {
        // Closing would first read what is left of the body; aborting drops the connection.
        body.abort();
      }
    }
  }

  private PullException readFailure(Item item, SdkException e) throws InterruptedException {
    PullException failure = S3Failures.translate(place, "reading '" + item.key() + "'", e);
    return failure.kind() == Kind.NOT_FOUND
        ? place.stale(Kind.TRANSIENT, "'" + item.key() + "' vanished while it was being pulled")
        : failure;
  }

  private void requireRange(Item item, long offset, long length, GetObjectResponse answer)
      throws PullException {
    String range = answer.contentRange();
    boolean whole = length == item.bytes();
    String expected = "bytes " + offset + "-" + (offset + length - 1) + "/" + item.bytes();
    if (whole ? range != null : !expected.equals(range)) {
      throw place.failure(
          Kind.CORRUPT,
          "the range '"
              + (whole ? "all" : expected)
              + "' of '"
              + item.key()
              + "' was answered with '"
              + (range == null ? "all" : range)
              + "'");
    }
    Long announced = answer.contentLength();
    if (announced != null && announced != length) {
      throw place.stale(
          Kind.TRANSIENT,
          "'" + item.key() + "' was listed with " + length + " bytes and sent with " + announced);
    }
  }

  private void copy(ResponseInputStream<GetObjectResponse> body, long length, Sink sink)
      throws PullException, InterruptedException {
    byte[] buffer = new byte[BUFFER_BYTES];
    long got = 0;
    while (got < length) {
      int read;
      try {
        read = body.read(buffer, 0, (int) Math.min(buffer.length, length - got));
        if (read < 0) {
          throw new EOFException("end of body");
        }
      } catch (IOException e) {
        throw S3Failures.broken(place, got, length, e);
      } catch (SdkException e) {
        throw S3Failures.translate(place, "reading a body", e);
      }
      sink.take(ByteBuffer.wrap(buffer, 0, read));
      got += read;
    }
  }

  private static void closeQuietly(ResponseInputStream<GetObjectResponse> body) {
    try {
      body.close();
    } catch (IOException e) {
      // All bytes have arrived; a connection that cannot be reused is the pool's to drop.
      body.abort();
    }
  }

  @Override
  public @Nullable Checksum listedChecksum(Item item) {
    // The ETag of an object that was uploaded in one piece is its MD5; others contain a dash.
    String etag = item.version().replace("\"", "");
    return access.etagIsMd5() && MD5.matcher(etag).matches()
        ? new Checksum(Algorithm.MD5, HexFormat.of().parseHex(etag))
        : null;
  }

  @Override
  public @Nullable Checksum askedChecksum(Item item) throws PullException, InterruptedException {
    HeadObjectResponse head;
    try {
      head =
          client.headObject(
              r ->
                  r.bucket(bucket)
                      .key(item.key())
                      .ifMatch(item.version())
                      .checksumMode(ChecksumMode.ENABLED));
    } catch (SdkException e) {
      throw readFailure(item, e);
    }
    Checksum stored = head.checksumType() == ChecksumType.COMPOSITE ? null : stored(head);
    if (stored != null) {
      return stored;
    }
    // Objects encrypted under a key of their own have ETags that look like an MD5 and are none.
    ServerSideEncryption encryption = head.serverSideEncryption();
    boolean plain = encryption == null || encryption == ServerSideEncryption.AES256;
    return plain && head.sseCustomerAlgorithm() == null ? listedChecksum(item) : null;
  }

  /** The stored checksum that is cheapest to compute. */
  private static @Nullable Checksum stored(HeadObjectResponse head) {
    Map<Algorithm, @Nullable String> values = new LinkedHashMap<>();
    values.put(Algorithm.CRC32C, head.checksumCRC32C());
    values.put(Algorithm.CRC32, head.checksumCRC32());
    values.put(Algorithm.CRC64NVME, head.checksumCRC64NVME());
    values.put(Algorithm.SHA256, head.checksumSHA256());
    values.put(Algorithm.SHA1, head.checksumSHA1());
    for (Map.Entry<Algorithm, @Nullable String> entry : values.entrySet()) {
      String value = entry.getValue();
      // A dash and a number of parts follow a checksum of checksums.
      if (value != null && value.indexOf('-') < 0) {
        return new Checksum(entry.getKey(), Base64.getDecoder().decode(value));
      }
    }
    return null;
  }
}
