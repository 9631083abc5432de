//! How many slots each replica should have.

/// The number of slots for the replica at `rank` among `members` replicas; the numbers of all add up to `slots`.
#[must_use]
pub fn quota(rank: usize, members: usize, slots: usize) -> usize {
    let members = members.max(1);
    slots / members + usize::from(rank < slots % members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_differ_by_one_at_most_and_leave_no_slot_out() {
        for members in 1..40 {
            let quotas: Vec<usize> = (0..members).map(|rank| quota(rank, members, 16)).collect();
            assert_eq!(quotas.iter().sum::<usize>(), 16);
            assert!(quotas.iter().max().unwrap() - quotas.iter().min().unwrap() <= 1);
        }
    }
}
