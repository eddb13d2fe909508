/** What the error of a job means and what to do about it. By the stable code; `detail` beside it says which one it was. */
const known: Readonly<Record<string, { readonly means: string; readonly do: string }>> = {
  corrupt_image: {
    means: 'The picture is damaged or not complete, so there is nothing to convert.',
    do: 'Send the whole file again. The same bytes fail the same way.',
  },
  unsupported_image: {
    means: 'The file is sound, but of a form that is not decoded.',
    do: 'Save it as the detail says, or as PNG or JPEG, and send it again.',
  },
  image_too_large: {
    means: 'The picture has more pixels than the system takes.',
    do: 'Make it smaller and send it again.',
  },
  source_refused: {
    means: 'The address of the picture was refused, or refuses.',
    do: 'Use an https address on the public internet that answers without a login.',
  },
  source_unavailable: {
    means: 'The picture could not be fetched from its address in time.',
    do: 'Check that the address answers, then rerun the job.',
  },
  source_missing: { means: 'The uploaded picture is gone from the object store.', do: 'Send the picture again.' },
  recipient_suppressed: {
    means: 'The address bounced or asked for no more mail, so nothing goes there.',
    do: 'If it works again, remove it from the suppressions (Mail), then rerun the job.',
  },
  mail_rejected: {
    means: 'The mail server of the recipient refused the mail for good.',
    do: 'Read its answer in the detail and check the address. The same mail fails the same way.',
  },
  mail_too_large: {
    means: 'The mail is larger than the mail server takes.',
    do: 'Send a smaller PDF, or a link to it.',
  },
  possibly_sent: {
    means: 'The connection broke while the mail was handed over, so it may have been sent.',
    do: 'Ask the recipient before you rerun the job: a rerun may send it twice.',
  },
  quota_exceeded: {
    means: 'The account has sent as many mails as it may for now.',
    do: 'Wait for the window to end, or raise the quota.',
  },
  invalid_variables: {
    means: 'The template lacks a variable that it needs, or has one of the wrong kind.',
    do: 'Fix the variables that the detail names and rerun the job with them.',
  },
  attempts_exhausted: {
    means: 'Every attempt failed, so the work was given up and kept as a dead letter.',
    do: 'Read the last failure in the dead letter, fix its cause, and redrive it.',
  },
  permanent_failure: {
    means: 'The work failed in a way that no repeat fixes.',
    do: 'Read the failure in the dead letter and fix its cause before you redrive it.',
  },
  worker_crashed: {
    means: 'The process that worked on it ended again and again, so the work was given up.',
    do: 'Look at the log of the service at that time. It may be out of memory on this input.',
  },
  stranded: {
    means: 'The work was no longer delivered to any replica, so it was given up.',
    do: 'Redrive the dead letter.',
  },
  work_lost: {
    means: 'The work disappeared from its queue, so it was given up.',
    do: 'Rerun the job, and look at what emptied the stream.',
  },
};

export const adviceFor = (code: string): { readonly means: string; readonly do: string } =>
  known[code] ?? {
    means: 'The job ended without a result.',
    do: 'The detail says why. If the cause is outside the system (a server that was down), rerun the job.',
  };
